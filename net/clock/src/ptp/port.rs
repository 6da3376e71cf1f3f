//! One port of statime's instance, driven from outside.
//!
//! A port of statime borrows its instance and changes its type with every election, so the two live side by side in the
//! frame of an `async` function, which is what keeps a borrow across calls without `unsafe`. It is not a task: it has no
//! executor and never waits for anything but its next input, and runs when that is put before it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use audiocloud_units::{HostTime, Nanos, SessionTime};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use statime::config::{
    AcceptAnyMaster, ClockIdentity, DelayMechanism, InstanceConfig, PortConfig, PtpMinorVersion, SdoId,
    TimePropertiesDS, TimeSource,
};
use statime::filters::{Filter, FilterEstimate, FilterUpdate};
use statime::observability::port::PortState;
use statime::port::{
    InBmca, Measurement as Measured, NoForwardedTLVs, PortAction, PortActionIterator, Running,
    TimestampContext,
};
use statime::time::{Duration as Span, Interval, Time};
use statime::{Clock, PtpInstance, PtpInstanceState};

use super::{Config, Grandmaster, Message, Role, State};
use crate::filter::Measurement;

/// Host times are counted from here within statime, whose time is never negative.
const HOST_ZERO: i128 = 1 << 64;

/// What may happen to a port.
#[derive(Debug)]
pub(super) enum Input {
    /// An event message came in; `at` is on the clock that its kind is reckoned on.
    Event(Message, Stamp),
    General(Message),
    /// A message was sent.
    Sent(TimestampContext, Stamp),
    Due(Timer),
}

/// An instant on either clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stamp {
    Host(HostTime),
    Session(SessionTime),
}

/// What a port may want to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Announce,
    Sync,
    DelayRequest,
    AnnounceReceipt,
    /// The best master clock algorithm.
    Elect,
}

pub(super) const TIMERS: [Timer; 5] =
    [Timer::Announce, Timer::Sync, Timer::DelayRequest, Timer::AnnounceReceipt, Timer::Elect];

/// What a port wants.
#[derive(Debug)]
pub(super) enum Output {
    Send(Message, Option<TimestampContext>),
    Wake(Timer, Duration),
    Measured(Measurement),
}

/// A port and its instance.
pub(super) struct Port {
    mailbox: Mailbox,
    running: Pin<Box<dyn Future<Output = Infallible> + Send>>,
}

impl Port {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        let mailbox = Mailbox::default();
        let mut port = Self { running: Box::pin(run(*config, seed, mailbox.clone())), mailbox };
        port.go_on();
        port
    }

    pub(super) fn state(&self) -> State {
        self.mailbox.open().state
    }

    /// What it says to that is appended.
    pub(super) fn put(&mut self, input: Input, outputs: &mut Vec<Output>) {
        self.mailbox.open().input = Some(input);
        self.go_on();
        self.take(outputs);
    }

    pub(super) fn take(&self, outputs: &mut Vec<Output>) {
        outputs.append(&mut self.mailbox.open().outputs);
    }

    fn go_on(&mut self) {
        match self.running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(never) => match never {},
        }
    }
}

#[derive(Debug, Default)]
struct Letters {
    input: Option<Input>,
    outputs: Vec<Output>,
    state: State,
}

/// Where what goes in and comes out is laid down. Nobody but one thread at a time ever looks in: the lock is for the types.
#[derive(Clone, Debug, Default)]
struct Mailbox(Arc<Mutex<Letters>>);

impl Mailbox {
    fn open(&self) -> MutexGuard<'_, Letters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn input(&self) -> Input {
        poll_fn(|_| self.open().input.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    fn wants(&self, actions: PortActionIterator<'_>) {
        for action in actions {
            let output = match action {
                PortAction::SendEvent { context, data, .. } => {
                    Message::new(data).map(|message| Output::Send(message, Some(context)))
                }
                PortAction::SendGeneral { data, .. } => {
                    Message::new(data).map(|message| Output::Send(message, None))
                }
                PortAction::ResetAnnounceTimer { duration } => Some(Output::Wake(Timer::Announce, duration)),
                PortAction::ResetSyncTimer { duration } => Some(Output::Wake(Timer::Sync, duration)),
                PortAction::ResetDelayRequestTimer { duration } => {
                    Some(Output::Wake(Timer::DelayRequest, duration))
                }
                PortAction::ResetAnnounceReceiptTimer { duration } => {
                    Some(Output::Wake(Timer::AnnounceReceipt, duration))
                }
                // Filters run elsewhere, and there is no second port to forward to.
                PortAction::ResetFilterUpdateTimer { .. } | PortAction::ForwardTLV { .. } => None,
            };
            self.open().outputs.extend(output);
        }
    }
}

type Instance = PtpInstance<Recorder, RwLock<PtpInstanceState>>;
type StatimePort<'a, L> =
    statime::port::Port<'a, L, AcceptAnyMaster, SmallRng, Nobody, Recorder, RwLock<PtpInstanceState>>;

async fn run(config: Config, seed: u64, mailbox: Mailbox) -> Infallible {
    let instance = Instance::new(
        instance_config(&config),
        TimePropertiesDS::new_arbitrary_time(false, false, TimeSource::InternalOscillator),
    );
    let mut idle: StatimePort<'_, InBmca> =
        instance.add_port(port_config(&config), mailbox.clone(), Nobody, SmallRng::seed_from_u64(seed));
    loop {
        let (mut running, actions) = idle.end_bmca();
        mailbox.wants(actions);
        mailbox.open().outputs.push(Output::Wake(Timer::Elect, instance.bmca_interval()));
        loop {
            mailbox.open().state = match state(&instance, &running) {
                State::Leading if config.role == Role::Slave => State::Listening,
                state => state,
            };
            let input = mailbox.input().await;
            if matches!(input, Input::Due(Timer::Elect)) {
                break;
            }
            mailbox.wants(handle(&mut running, &input_bytes(&input), input));
        }
        idle = running.start_bmca();
        instance.bmca(&mut [&mut idle]);
    }
}

fn input_bytes(input: &Input) -> Option<Message> {
    match input {
        Input::Event(message, _) | Input::General(message) => Some(*message),
        Input::Sent(..) | Input::Due(_) => None,
    }
}

fn handle<'a>(
    port: &'a mut StatimePort<'_, Running>,
    message: &'a Option<Message>,
    input: Input,
) -> PortActionIterator<'a> {
    let bytes: &[u8] = message.as_deref().unwrap_or_default();
    match input {
        Input::Event(_, at) => port.handle_event_receive(bytes, time(at)),
        Input::General(_) => port.handle_general_receive(bytes),
        Input::Sent(context, at) => port.handle_send_timestamp(context, time(at)),
        Input::Due(Timer::Announce) => port.handle_announce_timer(&mut NoForwardedTLVs),
        Input::Due(Timer::Sync) => port.handle_sync_timer(),
        Input::Due(Timer::DelayRequest) => port.handle_delay_request_timer(),
        Input::Due(Timer::AnnounceReceipt) => port.handle_announce_receipt_timer(),
        Input::Due(Timer::Elect) => PortActionIterator::empty(),
    }
}

fn instance_config(config: &Config) -> InstanceConfig {
    InstanceConfig {
        clock_identity: ClockIdentity(config.identity),
        // Who only listens is worse than any master.
        priority_1: if config.role == Role::Slave { u8::MAX } else { config.priority },
        priority_2: if config.role == Role::Slave { u8::MAX } else { 128 },
        domain_number: config.domain,
        sdo_id: SdoId::default(),
        // One that is only a slave ends a debug build when its master falls silent (statime 0.4, `set_recommended_state`). So
        // ours would lead then, for all that statime knows, and nobody hears of it: see `Exchange::send`.
        slave_only: false,
        path_trace: false,
    }
}

fn port_config(config: &Config) -> PortConfig<AcceptAnyMaster> {
    PortConfig {
        acceptable_master_list: AcceptAnyMaster,
        delay_mechanism: DelayMechanism::E2E { interval: Interval::from_log_2(config.log_interval) },
        announce_interval: Interval::from_log_2(config.log_announce_interval),
        announce_receipt_timeout: config.announces_missed,
        sync_interval: Interval::from_log_2(config.log_interval),
        master_only: config.role == Role::Master,
        delay_asymmetry: Span::ZERO,
        minor_ptp_version: PtpMinorVersion::One,
    }
}

fn state(instance: &Instance, port: &StatimePort<'_, Running>) -> State {
    match port.port_ds().port_state {
        PortState::Slave => {
            let (parent, properties) = (instance.parent_ds(), instance.time_properties_ds());
            let utc = properties.utc_offset().filter(|_| properties.is_ptp());
            State::Following(Grandmaster {
                source: parent.parent_port_identity.clock_identity.0,
                identity: parent.grandmaster_identity.0,
                class: parent.grandmaster_clock_quality.clock_class,
                priority: parent.grandmaster_priority_1,
                ahead_of_utc: Nanos::from_secs(utc.map_or(0, i64::from)),
            })
        }
        PortState::Master => State::Leading,
        PortState::Passive => State::Passive,
        _ => State::Listening,
    }
}

fn time(stamp: Stamp) -> Time {
    Time::from_fixed_nanos(match stamp {
        Stamp::Host(host) => HOST_ZERO + i128::from(host.get()),
        Stamp::Session(session) => i128::from(session.get().max(0)),
    })
}

fn nanos(time: Time) -> i128 {
    time.nanos().round().to_num::<i128>()
}

fn host(time: Time) -> Option<HostTime> {
    i64::try_from(nanos(time) - HOST_ZERO).ok().map(HostTime::new)
}

fn session(time: Time) -> Option<SessionTime> {
    i64::try_from(nanos(time)).ok().map(SessionTime::new)
}

/// A filter that makes nothing of what it is told but writes it down; [`crate::filter`] makes something of it.
struct Recorder(Mailbox);

impl Filter for Recorder {
    type Config = Mailbox;

    fn new(mailbox: Mailbox) -> Self {
        Self(mailbox)
    }

    fn measurement<C: Clock>(&mut self, measured: Measured, _: &mut C) -> FilterUpdate {
        let at = measured.event_time;
        let measurement = match (measured.raw_sync_offset, measured.raw_delay_offset) {
            (Some(offset), _) => session(at - offset)
                .zip(host(at))
                .map(|(sent, received)| Measurement::Sync { sent, received }),
            (_, Some(offset)) => host(at)
                .zip(session(at - offset))
                .map(|(sent, received)| Measurement::DelayRequest { sent, received }),
            _ => None,
        };
        self.0.open().outputs.extend(measurement.map(Output::Measured));
        FilterUpdate::default()
    }

    fn update<C: Clock>(&mut self, _: &mut C) -> FilterUpdate {
        FilterUpdate::default()
    }

    fn demobilize<C: Clock>(self, _: &mut C) {}

    fn current_estimates(&self) -> FilterEstimate {
        FilterEstimate { offset_from_master: Span::ZERO, mean_delay: Span::ZERO }
    }
}

/// The clock that statime may steer: none.
struct Nobody;

impl Clock for Nobody {
    type Error = Infallible;

    fn now(&self) -> Time {
        Time::default()
    }

    fn step_clock(&mut self, _: Span) -> Result<Time, Infallible> {
        Ok(Time::default())
    }

    fn set_frequency(&mut self, _: f64) -> Result<Time, Infallible> {
        Ok(Time::default())
    }

    fn set_properties(&mut self, _: &TimePropertiesDS) -> Result<(), Infallible> {
        Ok(())
    }
}
