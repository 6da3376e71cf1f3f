//! Which processes read one clock.

use audiocloud_wire::id::{DeviceId, InstanceId, MachineId};

use super::HostClock;

/// The same for all processes of one device since its machine was started, and for nobody else. Where the monotonic clock is
/// each process's own, or a simulated one, each is a machine of its own.
pub(crate) fn id(host_clock: HostClock, device: DeviceId, instance: InstanceId) -> MachineId {
    let mut hasher = blake3::Hasher::new_derive_key("audiocloud machine v1");
    hasher.update(&device.0);
    match start_of_the_machine().filter(|_| host_clock == HostClock::Machine) {
        Some(start) => hasher.update(start.as_bytes()),
        None => hasher.update(&instance.0),
    };
    let mut id = [0; MachineId::BYTES];
    hasher.finalize_xof().fill(&mut id);
    MachineId(id)
}

/// A container may have a monotonic clock of its own, in a namespace of time.
#[cfg(target_os = "linux")]
fn start_of_the_machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let times = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    Some(format!("{} {}", boot.trim(), times.display()))
}

#[cfg(not(target_os = "linux"))]
fn start_of_the_machine() -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use audiocloud_units::{Nanos, Ppm};

    use super::*;

    #[test]
    fn processes_of_one_machine_know_each_other_and_nobody_else() {
        let of =
            |clock, device: u8, instance: u8| id(clock, DeviceId([device; 32]), InstanceId([instance; 16]));
        let here = of(HostClock::Machine, 1, 1);
        assert_eq!(here == of(HostClock::Machine, 1, 2), cfg!(target_os = "linux"));
        assert_ne!(here, of(HostClock::Machine, 2, 1));
        let simulated = HostClock::Simulated {
            ppm: Ppm::new(1.0),
            wander: Ppm::new(0.0),
            wander_period: Nanos::from_secs(1),
            offset: Nanos::ZERO,
        };
        assert_ne!(of(simulated, 1, 1), of(simulated, 1, 2));
    }
}
