//! Any conversation with PTP's port, in any role: each byte of time and length is followed by a message. It never panics, wants
//! a bounded number of messages sent, and measures nothing that is not within what a time stamp can say.
#![no_main]

use audiocloud_clock::filter::Measurement;
use audiocloud_clock::ptp::{Action, Config, Exchange, Role};
use audiocloud_units::{HostTime, Nanos, Ppm, SessionLine, SessionTime};
use libfuzzer_sys::fuzz_target;

/// Header bytes that every message needs: PTPv2, domain 0, and a sender that is not us.
const HEADER: usize = 34;

fuzz_target!(|bytes: &[u8]| {
    let Some((role, mut rest)) = bytes.split_first() else { return };
    let role = [Role::Slave, Role::Master, Role::Auto][usize::from(role % 3)];
    let mut now = HostTime::new(1_000_000_000);
    let line =
        SessionLine { host: now, session: SessionTime::new(1 << 60), fraction: 0.0, rate: Ppm::new(50.0) };
    let mut exchange = Exchange::new(Config::network([1; 8], 0, role), 7, now);
    exchange.set_line(Some(line));
    let (mut taken, mut done) = (0, 0);
    while let [wait, length, others @ ..] = rest {
        let (message, others) = others.split_at(others.len().min(usize::from(*length)));
        rest = others;
        taken += 1;
        now = now + Nanos::from_millis(4 * i64::from(*wait));
        let mut message = message.to_vec();
        if let Some(header) = message.get_mut(..HEADER) {
            header[0] &= 0x0f;
            (header[1], header[2], header[4], header[5]) = (2, 0, 0, 0);
        }
        exchange.receive(&message, now);
        exchange.handle_timeout(now);
        while let Some(action) = exchange.poll_action() {
            done += 1;
            match action {
                Action::Send { message, stamp } => {
                    assert!(message.len() <= 64);
                    stamp.into_iter().for_each(|stamp| exchange.sent(stamp, now));
                }
                Action::Measured(Measurement::Sync { sent, .. }) => assert!(sent.get() >= 0),
                Action::Measured(Measurement::DelayRequest { received, .. }) => assert!(received.get() >= 0),
            }
        }
        assert!(exchange.deadline().is_some_and(|due| due >= now));
    }
    // An answer, a measurement, and what four timers want of their own, each.
    assert!(done <= 8 * (taken + 1), "{done} actions for {taken} messages");
});
