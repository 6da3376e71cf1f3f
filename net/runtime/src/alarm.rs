//! Waking at a time, to better than a millisecond: what is missing of a stream must be asked for when it is overdue, not
//! when a coarse clock ticks next.

pub(crate) use imp::Alarm;

#[cfg(target_os = "linux")]
mod imp {
    use std::io::ErrorKind;
    use std::os::fd::OwnedFd;

    use audiocloud_units::HostTime;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe;

    /// A timer of the kernel on the monotonic clock, which is the one of host times.
    #[derive(Debug)]
    pub(crate) struct Alarm {
        timer: OwnedFd,
        /// The same, as something that is read like a pipe, of eight bytes at once.
        rings: pipe::Receiver,
    }

    impl Alarm {
        pub(crate) fn new() -> std::io::Result<Self> {
            let timer =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            let rings = pipe::Receiver::from_owned_fd_unchecked(timer.try_clone()?)?;
            Ok(Self { timer, rings })
        }

        /// Waits until then.
        pub(crate) async fn until(&mut self, at: HostTime) -> std::io::Result<()> {
            // A time of 0 would switch it off.
            let nanos = at.get().max(1);
            let value = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
            let mut count = [0; 8];
            loop {
                self.rings.readable().await?;
                match self.rings.try_read(&mut count) {
                    // An earlier setting had rung, and this one has taken that back.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => return read.map(|_| ()),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::time::Duration;

    use audiocloud_rt::host_time;
    use audiocloud_units::HostTime;

    /// The timer of the event loop, which ticks each millisecond.
    #[derive(Debug)]
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self)
        }

        /// Waits until then.
        pub(crate) async fn until(&mut self, at: HostTime) -> std::io::Result<()> {
            let nanos = u64::try_from((at - host_time::now()).get()).unwrap_or(0);
            tokio::time::sleep(Duration::from_nanos(nanos)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiocloud_rt::host_time;
    use audiocloud_units::{HostTime, Nanos};

    #[tokio::test]
    async fn it_rings_at_its_time_and_can_be_moved() {
        let mut alarm = Alarm::new().unwrap();
        let far = host_time::now() + Nanos::from_secs(1000);
        let soon = tokio::time::timeout(std::time::Duration::from_millis(5), alarm.until(far)).await;
        assert!(soon.is_err(), "not before its time");
        for _ in 0..20 {
            let at = host_time::now() + Nanos::from_micros(300);
            alarm.until(at).await.unwrap();
            assert!(host_time::now() >= at);
        }
        alarm.until(HostTime::new(0)).await.unwrap();
    }
}
