//! Any datagram as one of the clock exchange: what was read can be written again, and PTP's own port takes the message,
//! whatever it is, and wants no more sent for it than a few messages.
#![no_main]

use audiocloud_clock::ptp::{Action, Config, Exchange, Role};
use audiocloud_units::{HostTime, Nanos, Ppm, SessionLine, SessionTime};
use audiocloud_wire::packet::Packet;
use audiocloud_wire::packet::clock::ClockPacket;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let any = Packet::decode(bytes);
    let Ok(packet) = ClockPacket::decode(bytes) else {
        assert!(!matches!(any, Ok(Packet::Clock(_))));
        return;
    };
    assert_eq!(any, Ok(Packet::Clock(packet)));
    let mut again = [0; 300];
    assert_eq!(packet.encode(&mut again), Ok(bytes.len()));
    // The three bytes after the first mean nothing yet.
    assert_eq!((again[0], &again[4..bytes.len()]), (bytes[0], &bytes[4..]));

    let now = HostTime::new(1_000_000_000);
    let line = SessionLine { host: now, session: SessionTime::new(5), fraction: 0.0, rate: Ppm::new(0.0) };
    for role in [Role::Slave, Role::Master] {
        let mut exchange = Exchange::new(Config::direct([1; 8], role), 7, now);
        exchange.set_line(Some(line));
        let mut sent = 0;
        for step in 0..8 {
            let at = now + Nanos::from_millis(50 * step);
            exchange.receive(packet.ptp, at);
            exchange.handle_timeout(at);
            while let Some(action) = exchange.poll_action() {
                if let Action::Send { stamp, .. } = action {
                    sent += 1;
                    stamp.into_iter().for_each(|stamp| exchange.sent(stamp, at));
                }
            }
        }
        assert!(sent < 64, "{sent} messages for eight");
    }
});
