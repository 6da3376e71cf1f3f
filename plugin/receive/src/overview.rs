//! Everybody and everything in reach or in the project, as the window lists it.

use audiocloud_instance::state::{FaderKey, PersonRef, Selection, Stored, StreamRef};
use audiocloud_instance::status::Status;
use audiocloud_instance::time::Setup;
use audiocloud_net::runtime::StreamEntry;
use audiocloud_net::wire::id::DeviceId;
use audiocloud_net::wire::message::Purpose;

use crate::member::{Member, Reading};
use crate::missing::{self, Missing};
use crate::model::{Person, Playing, Track};
use crate::roster;
use crate::settings::{codec_words, words};
use crate::status::kilohertz;

/// People in the order of the roster, then those that are played or picked and not in reach.
pub(crate) fn people(
    stored: &Stored,
    tracks: &[roster::Track],
    members: &[Member],
    readings: &[Reading],
    said: &[Status],
    gone: &Missing,
    setup: Option<&Setup>,
) -> Vec<Person> {
    let mut people = Vec::new();
    let session = stored.session().map(|session| session.id);
    let scope = roster::Scope { selection: stored.selection(), session };
    let is_played = |track: &roster::Track| members.iter().any(|member| member.stream == track.stream);
    for track in tracks.iter().filter(|track| scope.shows(&track.entry) || is_played(track)) {
        let playing = members.iter().position(|member| member.stream == track.stream);
        let playing =
            playing.map(|index| playing_of(stored, &members[index], &readings[index], &said[index]));
        let name = track.entry.publisher_name.clone();
        person(stored, &mut people, track.person, &name).tracks.push(in_reach(track, playing, setup));
    }
    let silent = members.iter().zip(readings).zip(said);
    for ((member, reading), said) in
        silent.filter(|((it, _), _)| tracks.iter().all(|track| track.stream != it.stream))
    {
        let kept = if stored.selection() == Selection::Stream(member.stream) {
            stored.name()
        } else {
            String::new()
        };
        let (name, publisher) = (member.name(&reading.wire, &kept), member.publisher(&reading.wire));
        let playing = Some(playing_of(stored, member, reading, said));
        let track = missing(member.stream, name, publisher.clone(), playing);
        person(stored, &mut people, member.person, &publisher).tracks.push(track);
    }
    for missing::Stream { stream, person: by, name, publisher } in gone.streams() {
        let track = missing(*stream, name.clone(), publisher.clone(), None);
        person(stored, &mut people, *by, publisher).tracks.push(track);
    }
    for fellow in gone.people() {
        person(stored, &mut people, fellow.person, &fellow.name);
    }
    match stored.selection() {
        Selection::Person(picked) => drop(person(stored, &mut people, picked, &stored.name())),
        Selection::Stream(stream)
            if people.iter().flat_map(|it| &it.tracks).all(|it| it.stream != stream) =>
        {
            let by = stored.member().unwrap_or(PersonRef(stream.publisher));
            let device = || format!("device {}", DeviceId(stream.publisher).short());
            let publisher = gone.called(by).map_or_else(device, str::to_owned);
            let track = missing(stream, stored.name(), publisher.clone(), None);
            person(stored, &mut people, by, &publisher).tracks.push(track);
        }
        _ => {}
    }
    people
}

fn person<'a>(stored: &Stored, people: &'a mut Vec<Person>, person: PersonRef, name: &str) -> &'a mut Person {
    let index = people.iter().position(|known| known.person == person).unwrap_or_else(|| {
        let fader = stored.fader(FaderKey::Person(person));
        people.push(Person { person, name: name.to_owned(), fader, tracks: Vec::new() });
        people.len() - 1
    });
    &mut people[index]
}

fn playing_of(stored: &Stored, member: &Member, reading: &Reading, said: &Status) -> Playing {
    let channels = usize::from(reading.playout.stream_channels);
    Playing {
        severity: said.severity,
        sentence: said.sentence(),
        peaks: reading.playout.peaks.iter().copied().take(channels).collect(),
        fader: stored.fader(FaderKey::Stream(member.stream)),
        output: member.output,
    }
}

fn missing(stream: StreamRef, name: String, publisher: String, playing: Option<Playing>) -> Track {
    let objection = "missing".to_owned();
    Track { stream, name, publisher, format: String::new(), objection, is_local: false, playing }
}

fn in_reach(track: &roster::Track, playing: Option<Playing>, setup: Option<&Setup>) -> Track {
    Track {
        stream: track.stream,
        name: track.entry.name.clone(),
        publisher: track.entry.publisher_name.clone(),
        format: format(&track.entry, setup),
        objection: match track.entry.codec {
            None => "it needs a newer audiocloud here".to_owned(),
            Some(_) => String::new(),
        },
        is_local: track.entry.local,
        playing,
    }
}

fn format(entry: &StreamEntry, setup: Option<&Setup>) -> String {
    let plural = if entry.channels == 1 { "" } else { "s" };
    let codec = entry.codec.map_or("unknown coding", codec_words);
    let rate = kilohertz(entry.sample_rate.hz());
    let resampled = setup.is_some_and(|setup| setup.sample_rate != entry.sample_rate);
    let resampled = if resampled { ", resampled" } else { "" };
    let purpose = if entry.purpose == Purpose::TalkBack { "talk-back, " } else { "" };
    format!("{purpose}{rate}{resampled}, {} channel{plural}, {codec}", entry.channels)
}

/// What the engine chose for the budget, for the stream that it was hardest for; empty without a budget.
pub(crate) fn plan(members: &[Member]) -> String {
    let plans = members.iter().filter_map(|member| member.planner.plan());
    let Some(plan) = plans.max_by_key(|plan| plan.waterfall.total()) else { return String::new() };
    let (quality, floor) = (words(plan.quality), plan.hold_floor.as_millis_f64());
    let (ceiling, verdict) = (plan.hold_ceiling.as_millis_f64(), plan.verdict);
    format!("{quality}; frames wait {floor:.1} to {ceiling:.1} ms; {verdict}.")
}

/// A selection for programs.
pub(crate) fn word(selection: Selection) -> &'static str {
    match selection {
        Selection::Nothing => "nothing",
        Selection::Stream(_) => "stream",
        Selection::Person(_) => "person",
        Selection::Session => "session",
    }
}
