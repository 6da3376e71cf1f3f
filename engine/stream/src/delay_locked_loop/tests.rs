use super::*;

/// A device in virtual time: a crystal that is off, callbacks that come early or late, and stalls.
struct Device {
    rate_hz: f64,
    start_ns: f64,
    jitter_ns: f64,
    frames: u64,
    /// Time that passed without frames.
    stalled_ns: f64,
    random: u64,
    block: fn(u64) -> u32,
}

impl Device {
    fn new(drift_ppm: f64, jitter_ms: f64, seed: u64) -> Self {
        Self {
            rate_hz: 48_000.0 * (1.0 + drift_ppm * 1e-6),
            // A machine that has been up for a month.
            start_ns: 2.6e15,
            jitter_ns: jitter_ms * 1e6,
            frames: 0,
            stalled_ns: 0.0,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            block: |_| 128,
        }
    }

    /// Uniform, −1 to 1.
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn due_ns(&self) -> f64 {
        self.start_ns + self.stalled_ns + self.frames as f64 * 1e9 / self.rate_hz
    }

    fn callback(&mut self, dll: &mut DelayLockedLoop) -> Observation {
        let late_ns = self.jitter_ns * self.random();
        let block = (self.block)(self.random);
        let observation = dll.observe(nanos_time(self.due_ns() + late_ns), block);
        self.frames += u64::from(block);
        observation
    }

    fn run(&mut self, dll: &mut DelayLockedLoop, seconds: f64) {
        let end = self.due_ns() + seconds * 1e9;
        while self.due_ns() < end {
            self.callback(dll);
        }
    }
}

fn nanos_time(ns: f64) -> HostTime {
    HostTime::new(0) + nanos(ns)
}

fn dll(bandwidth_hz: f64) -> DelayLockedLoop {
    DelayLockedLoop::new(SampleRate::new(48_000).unwrap(), bandwidth_hz)
}

const DRIFTS_PPM: [f64; 5] = [-500.0, -200.0, 0.0, 50.0, 500.0];

#[test]
fn the_rate_is_found_within_jitter_of_a_millisecond() {
    // Of ±1 ms uniform, a straight line through 10 s knows the rate to 3.3 ppm RMS, the best there is.
    fn check(bandwidth_hz: f64, block: fn(u64) -> u32, rms_10_s_ppm: f64, rms_60_s_ppm: f64) {
        let mut squares = [0.0; 2];
        let mut means = [0.0; 2];
        let mut runs = 0.0;
        for drift_ppm in DRIFTS_PPM {
            for seed in 1..=8 {
                let mut dll = dll(bandwidth_hz);
                let mut device = Device { block, ..Device::new(drift_ppm, 1.0, seed) };
                for (index, seconds) in [10.0, 50.0].into_iter().enumerate() {
                    device.run(&mut dll, seconds);
                    let error = dll.drift().get() - drift_ppm;
                    squares[index] += error * error;
                    means[index] += error;
                }
                runs += 1.0;
            }
        }
        let rms = squares.map(|square: f64| (square / runs).sqrt());
        let mean = means.map(|mean: f64| mean / runs);
        println!("{bandwidth_hz} Hz: RMS {rms:.2?} ppm, mean {mean:.2?} ppm after 10 and 60 s");
        for (index, limit) in [rms_10_s_ppm, rms_60_s_ppm].into_iter().enumerate() {
            assert!(rms[index] < limit, "{bandwidth_hz} Hz: {rms:?} ppm");
            assert!(
                mean[index].abs() < 3.5 * limit / runs.sqrt(),
                "{bandwidth_hz} Hz is biased: {mean:?} ppm"
            );
        }
    }
    check(0.1, |_| 128, 14.0, 14.0);
    check(0.05, |_| 128, 6.0, 6.0);
    check(0.01, |_| 128, 5.0, 0.8);
    check(0.01, |random| [32, 64, 100, 441][(random >> 40) as usize % 4], 6.0, 1.0);
}

#[test]
fn without_jitter_the_line_is_exact() {
    for drift_ppm in DRIFTS_PPM {
        let (mut dll, mut device) = (dll(0.1), Device::new(drift_ppm, 0.0, 1));
        device.run(&mut dll, 20.0);
        assert!((dll.drift().get() - drift_ppm).abs() < 0.01, "{:?} for {drift_ppm}", dll.drift());
        assert!((dll.rate_hz() - device.rate_hz).abs() < 0.001);
        let due = nanos_time(device.due_ns());
        assert!((dll.position_at(due) - device.frames as f64).abs() < 0.01);
        assert!((dll.time_at(device.frames as f64) - due).get().abs() < 200);
        assert!(dll.jitter().get() < 2_000, "{:?}", dll.jitter());
    }
}

#[test]
fn time_has_a_fraction_of_the_jitter_and_no_bias() {
    let (mut sum, mut square, mut count) = (0.0, 0.0, 0.0);
    for drift_ppm in DRIFTS_PPM {
        let (mut dll, mut device) = (dll(0.05), Device::new(drift_ppm, 1.0, 5));
        device.run(&mut dll, 20.0);
        for _ in 0..40 {
            device.run(&mut dll, 2.0);
            let error = dll.position_at(nanos_time(device.due_ns())) - device.frames as f64;
            (sum, square, count) = (sum + error, square + error * error, count + 1.0);
            // Uniform ±1 ms is 577 µs RMS.
            assert!((500_000..650_000).contains(&dll.jitter().get()), "{:?}", dll.jitter());
        }
    }
    let (mean, rms): (f64, f64) = (sum / count, (square / count).sqrt());
    println!("time: mean {mean:.3} frames, RMS {rms:.3} frames");
    assert!(mean.abs() < 0.4 && rms < 1.5, "mean {mean}, RMS {rms} frames of 48 jitter");
}

#[test]
fn a_stall_moves_the_times_and_keeps_the_rate() {
    for stall_ms in [30.0, 150.0, 5_000.0] {
        let (mut dll, mut device) = (dll(0.05), Device::new(300.0, 1.0, 9));
        device.run(&mut dll, 30.0);
        device.stalled_ns += stall_ms * 1e6;
        let observations = [(); 4].map(|()| device.callback(&mut dll));
        assert_eq!(observations.iter().filter(|&&o| o == Observation::Leapt).count(), 1, "{observations:?}");
        assert_eq!(dll.leaps(), 1);
        // One second later both are what they were.
        device.run(&mut dll, 1.0);
        let frames_off = dll.position_at(nanos_time(device.due_ns())) - device.frames as f64;
        assert!(frames_off.abs() < 10.0, "{frames_off} frames off after {stall_ms} ms");
        assert!((dll.drift().get() - 300.0).abs() < 15.0, "{:?} after {stall_ms} ms", dll.drift());
        device.run(&mut dll, 9.0);
        assert!((dll.drift().get() - 300.0).abs() < 12.0, "{:?} after {stall_ms} ms", dll.drift());
        assert_eq!(dll.position(), device.frames - 128);
    }
}

#[test]
fn a_callback_that_is_late_alone_changes_nothing() {
    let (mut dll, mut device) = (dll(0.1), Device::new(100.0, 0.0, 1));
    device.run(&mut dll, 20.0);
    let before = dll.drift();
    // Late by 50 ms, and the ones queued behind it at once.
    for block in [0, 1] {
        let late_ns = 50e6 - f64::from(block) * 2.67e6;
        assert_eq!(dll.observe(nanos_time(device.due_ns() + late_ns), 128), Observation::PassedOver);
        device.frames += 128;
    }
    assert_eq!(device.callback(&mut dll), Observation::Followed);
    assert!((dll.drift().get() - before.get()).abs() < 0.01);
    assert!((dll.time() - nanos_time(device.due_ns() - 128e9 / device.rate_hz)).get().abs() < 1_000);
}

#[test]
fn a_host_that_was_kept_waiting_and_catches_up_changes_nothing() {
    for (late_ms, frames) in [(50.0, 64), (50.0, 16), (190.0, 64), (20.0, 1024)] {
        let (mut dll, mut device) = (dll(0.1), Device::new(100.0, 0.0, 1));
        device.run(&mut dll, 20.0);
        let before = dll.drift();
        // All that was due meanwhile is called at once, 20 µs each.
        let called_ns = device.due_ns() + late_ms * 1e6;
        let mut called = 0.0;
        while device.due_ns() < called_ns + called * 20e3 {
            let observation = dll.observe(nanos_time(called_ns + called * 20e3), frames);
            assert!(
                matches!(observation, Observation::PassedOver | Observation::Followed),
                "{observation:?} {called} calls after {late_ms} ms, with blocks of {frames}"
            );
            device.frames += u64::from(frames);
            called += 1.0;
        }
        assert_eq!(dll.leaps(), 0, "{late_ms} ms, blocks of {frames}");
        assert!(
            (dll.drift().get() - before.get()).abs() < 1.0,
            "{:?} before, {:?} after",
            before,
            dll.drift()
        );
        let error = dll.time() - nanos_time(device.due_ns() - f64::from(frames) * 1e9 / device.rate_hz);
        assert!(error.get().abs() < 50_000, "off by {error:?} after {late_ms} ms");
    }
}

#[test]
fn whatever_is_observed_the_numbers_stay_numbers() {
    let mut dll = dll(f64::NAN);
    for (time, frames) in
        [(5, 0), (5, 0), (i64::MAX, u32::MAX), (i64::MIN, 1), (0, 0), (0, u32::MAX), (-1, 1), (7, 1)]
    {
        let _observation = dll.observe(HostTime::new(time), frames);
        assert!(dll.rate_hz().is_finite() && dll.position_at(HostTime::new(0)).is_finite());
    }
    dll.reset();
    assert_eq!((dll.position(), dll.leaps(), dll.jitter()), (0, 0, Nanos::ZERO));
    assert_eq!(dll.rate_hz(), 48_000.0);
}
