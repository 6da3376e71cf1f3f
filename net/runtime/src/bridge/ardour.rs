//! Ardour: its WebSocket surface for the tempo and for what it says, its OSC for place, play and stop.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use audiocloud_osc::ardour::{self, Rate, Said, TEXT_BYTES_MAX};
use audiocloud_osc::conductor::{Conductor, Order};
use audiocloud_units::Nanos;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use super::SharedBeat;
use super::osc::{connect, words};
use super::worker::{Stage, Worker};

/// How long the surface has to answer.
const PATIENCE: Duration = Duration::from_millis(80);
/// How often one that is not there is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Without a word for so long Ardour is gone: it speaks ten times a second while it rolls, and answers while it does not.
const PING_EVERY: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(7);
/// So much later than it was told it begins, on the average: a command waits for the session's next turn and is then heard
/// one period later.
const LEAD: Nanos = Nanos::from_millis(12);
/// How long it may take to say that it rolls, or stands still.
const REACTION: Duration = Duration::from_millis(400);
/// Messages that are read in one go: Ardour sends a dozen a second.
const MESSAGES_MAX: usize = 64;

/// Tells the Ardour whose WebSocket surface is at `address`, and whose OSC is at the port after it.
pub(super) fn start(beat: Arc<dyn SharedBeat>, address: SocketAddr) -> Worker {
    Worker::start("Ardour", move |stage| {
        while !stage.is_over() {
            match Ardour::open(address) {
                Ok(mut ardour) => {
                    let end = ardour.tell(stage, &*beat);
                    stage.say("Ardour has gone", 0, end.err());
                }
                Err(trouble) => stage.say("looking for Ardour", 0, Some(trouble)),
            }
            let began = Instant::now();
            while !stage.is_over() && began.elapsed() < RETRY {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    })
}

/// One that answered.
struct Ardour {
    address: SocketAddr,
    surface: WebSocket<TcpStream>,
    osc: UdpSocket,
    /// Whether it rolls, once it said so.
    rolls: Option<bool>,
    tempo: Option<f64>,
    rate: Rate,
    heard: Instant,
    asked: Instant,
    /// When it was told something last.
    ordered: Option<Instant>,
    /// OSC that was not taken.
    lost: u64,
}

/// The surface of who answers in time.
fn shake_hands(
    address: SocketAddr,
    stream: TcpStream,
    limits: WebSocketConfig,
) -> Result<WebSocket<TcpStream>, tungstenite::Error> {
    let began = Instant::now();
    let mut tried = tungstenite::client::client_with_config(format!("ws://{address}/"), stream, Some(limits));
    loop {
        tried = match tried {
            Ok((surface, _)) => return Ok(surface),
            Err(HandshakeError::Interrupted(_)) if began.elapsed() > PATIENCE => {
                return Err(tungstenite::Error::Io(ErrorKind::TimedOut.into()));
            }
            Err(HandshakeError::Interrupted(half)) => {
                std::thread::sleep(Duration::from_millis(1));
                half.handshake()
            }
            Err(HandshakeError::Failure(error)) => return Err(error),
        }
    }
}

impl Ardour {
    fn open(address: SocketAddr) -> Result<Self, String> {
        let absent = |error: &dyn std::fmt::Display| {
            format!(
                "no Ardour at {address} ({error}); start it, and switch on its control surfaces WebSockets Server and \
                 Open Sound Control"
            )
        };
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| absent(&error))?;
        stream.set_nodelay(true).map_err(|error| absent(&error))?;
        // A surface that says nothing must not hold the thread.
        stream.set_nonblocking(true).map_err(|error| absent(&error))?;
        let limits = WebSocketConfig::default()
            .max_message_size(Some(TEXT_BYTES_MAX))
            .max_frame_size(Some(TEXT_BYTES_MAX))
            .max_write_buffer_size(1 << 16)
            .write_buffer_size(0);
        let surface = shake_hands(address, stream, limits).map_err(|error| absent(&error))?;
        let at = SocketAddr::new(address.ip(), address.port().saturating_add(1));
        let osc = connect(at).map_err(|error| absent(&error))?;
        let now = Instant::now();
        Ok(Self {
            address,
            surface,
            osc,
            rolls: None,
            tempo: None,
            rate: Rate::default(),
            heard: now,
            asked: now,
            ordered: None,
            lost: 0,
        })
    }

    /// Tells it what the beat does, until it goes or the bridge ends.
    fn tell(&mut self, stage: &Stage, beat: &dyn SharedBeat) -> Result<(), String> {
        let mut conductor = Conductor::new(LEAD);
        while !stage.is_over() {
            if self.listen()? {
                // It stands elsewhere than it was sent to: once more, now that its rate is known.
                conductor.found(conductor.is_playing());
            }
            let now = beat.now();
            let timeline = beat.timeline();
            if let Some(rolls) = self.rolls {
                let beat_is_there = timeline.at(now).is_some();
                if beat_is_there && rolls && !conductor.is_playing() && self.has_had_time() {
                    // Somebody started it, or it rolls since before we came: the map is the authority.
                    conductor.found(true);
                }
                for order in conductor.poll(&timeline, now, !rolls) {
                    tracing::debug!(target: "audiocloud::bridge", ?order, "Ardour");
                    self.order(order, conductor.is_playing())?;
                }
            }
            self.say(stage, &conductor, &timeline.at(now).map(|position| position.bpm));
            let wait = conductor.next(&timeline, beat.now()) - beat.now();
            // What it says is heard soon enough to know that it stands still.
            let wait = wait.clamp(Nanos::ZERO, Nanos::from_millis(20));
            std::thread::sleep(super::osc::duration(wait));
        }
        if conductor.is_playing() {
            // The beat goes away, so the DAW stands still.
            self.osc.send(&ardour::stop()).ok();
        }
        Ok(())
    }

    /// Whether it has done by now what it was told last.
    fn has_had_time(&self) -> bool {
        self.ordered.is_none_or(|ordered| ordered.elapsed() > REACTION)
    }

    fn order(&mut self, order: Order, playing: bool) -> Result<(), String> {
        self.ordered = Some(Instant::now());
        let datagram = match order {
            Order::Tempo(bpm) => {
                // The surface tells everybody else.
                self.tempo = Some(bpm);
                return self.send(Message::text(ardour::tempo(bpm)));
            }
            Order::Locate(seconds) => {
                let sample = self.rate.sample(seconds);
                ardour::locate(sample, playing && self.rolls == Some(true))
            }
            Order::Play => ardour::play(),
            Order::Stop => ardour::stop(),
        };
        // A refusal that is told now is the answer to what was sent before: once more.
        let sent = self.osc.send(&datagram).or_else(|_| self.osc.send(&datagram));
        self.lost += u64::from(sent.is_err());
        Ok(())
    }

    /// Takes in what it says; whether it has to be placed anew.
    fn listen(&mut self) -> Result<bool, String> {
        let mut anew = false;
        for _ in 0..MESSAGES_MAX {
            let message = match self.surface.read() {
                Ok(message) => message,
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("Ardour's surface has closed ({error}); it is looked for")),
            };
            self.heard = Instant::now();
            match message.to_text().ok().and_then(ardour::read) {
                Some(Said::Rolls(rolls)) => self.rolls = Some(rolls),
                Some(Said::Tempo(bpm)) => self.tempo = Some(bpm),
                Some(Said::Time(seconds)) if self.rolls == Some(false) => anew |= self.rate.stands(seconds),
                _ => {}
            }
        }
        if self.asked.elapsed() > PING_EVERY {
            self.asked = Instant::now();
            self.send(Message::Ping(Vec::new().into()))?;
        }
        if self.heard.elapsed() > SILENCE {
            return Err(format!("Ardour at {} says nothing any more; it is looked for", self.address));
        }
        Ok(anew)
    }

    fn send(&mut self, message: Message) -> Result<(), String> {
        self.surface
            .send(message)
            .map_err(|error| format!("Ardour's surface takes nothing any more ({error}); it is looked for"))
    }

    fn say(&self, stage: &Stage, conductor: &Conductor, wanted: &Option<f64>) {
        let trouble = match (*wanted, self.tempo, self.rolls) {
            _ if self.lost > 0 => Some(format!(
                "Ardour's OSC at port {} does not answer; switch on its control surface Open Sound Control",
                self.address.port().saturating_add(1)
            )),
            (Some(wanted), Some(tempo), Some(true)) if (wanted - tempo).abs() > 0.01 => Some(format!(
                "Ardour has {tempo:.2} bpm instead of {wanted:.2}: it takes another tempo when it stands still"
            )),
            (Some(_), _, Some(false)) if conductor.is_playing() && self.has_had_time() => {
                Some("Ardour was stopped by hand; it joins again when the session next starts".into())
            }
            _ => None,
        };
        stage.say(words(conductor, "Ardour"), 1, trouble);
    }
}
