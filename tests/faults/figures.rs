//! What the observer and the client saw, as figures.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Pings;
use crate::observer::{Log, Track};

/// A time from and a time until.
pub(crate) type Span = (Duration, Duration);

/// The figures of one part of a run: the fault, or its healing. Times are totals, but for the client's longest wait.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part {
    /// In which two nodes claimed the same VIP: the worst VIP's.
    pub(crate) two: Duration,
    /// In which no node claimed a VIP: the worst VIP's.
    pub(crate) none: Duration,
    /// The client's longest time from one answer to the next.
    pub(crate) gap: Duration,
    /// Requests of the client that were never answered.
    pub(crate) lost: usize,
}

/// The spans in which a node claimed a VIP for certain: runs of questions that were all answered, from the first claim to
/// the last. A question that stayed without answer ends a run.
pub(crate) fn spans(track: &Track) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut running = false;
    let mut claims = track.claimed.iter().copied().peekable();
    for (place, asked) in track.asked.iter().enumerate() {
        while place == 0 && claims.next_if(|at| at < asked).is_some() {}
        let end = track.asked.get(place + 1).copied().unwrap_or(Duration::MAX);
        let mut answered = false;
        while let Some(at) = claims.next_if(|at| *at < end) {
            match spans.last_mut() {
                Some(span) if running => span.1 = at,
                _ => spans.push((at, at)),
            }
            (running, answered) = (true, true);
        }
        running = answered;
    }
    spans
}

fn common(a: Span, b: Span) -> Option<Span> {
    let (from, until) = (a.0.max(b.0), a.1.min(b.1));
    (from <= until).then_some((from, until))
}

fn length(span: Span) -> Duration {
    span.1.saturating_sub(span.0)
}

/// How long two nodes claimed a VIP within a window. A single claim between two of another node counts as `step`.
fn two(tracks: &[Vec<Span>], window: Span, step: Duration) -> Duration {
    let mut total = Duration::ZERO;
    for (place, of_one) in tracks.iter().enumerate() {
        for of_other in &tracks[place + 1..] {
            for both in of_one.iter().flat_map(|a| of_other.iter().filter_map(|b| common(*a, *b))) {
                total += common(both, window).map_or(Duration::ZERO, |span| length(span).max(step));
            }
        }
    }
    total
}

/// How long no node claimed a VIP within a window.
fn none(tracks: &[Vec<Span>], window: Span) -> Duration {
    let mut all: Vec<Span> = tracks.iter().flatten().filter_map(|span| common(*span, window)).collect();
    all.sort();
    let (mut total, mut reached) = (Duration::ZERO, window.0);
    for (from, until) in all {
        total += from.saturating_sub(reached);
        reached = reached.max(until);
    }
    total + window.1.saturating_sub(reached)
}

/// The client's longest wait within a window, and the requests of it that were lost. A wait that has begun before counts
/// as a whole in the window of the fault (`whole`), else only from the window's beginning.
fn client(pings: &Pings, window: Span, whole: bool) -> (Duration, usize) {
    let mut times: Vec<Duration> = pings.answered.iter().map(|(_, at)| *at).chain([pings.end]).collect();
    times.sort();
    let waits = times.windows(2).filter(|pair| pair[1] > window.0 && pair[0] < window.1);
    let longest = waits.map(|pair| pair[1] - if whole { pair[0] } else { pair[0].max(window.0) }).max();
    let answered: BTreeSet<usize> = pings.answered.iter().map(|(number, _)| *number).collect();
    let sent = pings.sent.iter().enumerate().filter(|(_, at)| **at >= window.0 && **at < window.1);
    (longest.unwrap_or_default(), sent.filter(|(number, _)| !answered.contains(number)).count())
}

/// The figures of a window; `whole` as of [`client`].
pub(crate) fn part(log: &Log, pings: &Pings, window: Span, step: Duration, whole: bool) -> Part {
    let spans: Vec<Vec<Vec<Span>>> = log.iter().map(|vip| vip.iter().map(spans).collect()).collect();
    let (gap, lost) = client(pings, window, whole);
    Part {
        two: spans.iter().map(|vip| two(vip, window, step)).max().unwrap_or_default(),
        none: spans.iter().map(|vip| none(vip, window)).max().unwrap_or_default(),
        gap,
        lost,
    }
}

/// Of the VIPs that `old` claimed within `fresh` before `from`: when the first and the last one was claimed by another
/// node. `None` if one never was.
pub(crate) fn taken(log: &Log, old: usize, from: Duration, fresh: Duration) -> Option<Span> {
    let had = |vip: &&Vec<Track>| vip[old].claimed.iter().any(|at| *at <= from && *at + fresh > from);
    let first = |vip: &Vec<Track>| {
        let others = vip.iter().enumerate().filter(|(node, _)| *node != old);
        others.flat_map(|(_, track)| track.claimed.iter().copied().filter(|at| *at > from)).min()
    };
    let times: Option<Vec<Duration>> = log.iter().filter(had).map(first).collect();
    times.and_then(|times| Some((*times.iter().min()?, *times.iter().max()?)))
}

/// Milliseconds with one decimal.
pub(crate) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

impl Part {
    pub(crate) fn json(self) -> Value {
        json!({"two": millis(self.two), "none": millis(self.none), "gap": millis(self.gap), "lost": self.lost})
    }
}

#[test]
fn spans_end_where_a_question_stays_without_answer() {
    let ms = |times: &[u64]| times.iter().map(|at| Duration::from_millis(*at)).collect();
    let track = Track { asked: ms(&[10, 20, 30, 40, 50]), claimed: ms(&[5, 11, 21, 41, 51, 52]) };
    let expected: Vec<Span> =
        [(11, 21), (41, 52)].map(|(a, b)| (Duration::from_millis(a), Duration::from_millis(b))).into();
    assert_eq!(spans(&track), expected);
}

#[test]
fn two_claimants_and_none_are_measured_within_the_window() {
    let ms = Duration::from_millis;
    let tracks = vec![vec![(ms(0), ms(100))], vec![(ms(90), ms(150)), (ms(180), ms(200))], vec![(ms(190), ms(190))]];
    let step = ms(4);
    assert_eq!(two(&tracks, (ms(0), ms(300)), step), ms(14));
    assert_eq!(two(&tracks, (ms(100), ms(180)), step), step, "the moment in which one ends is shared with the other");
    assert_eq!(none(&tracks, (ms(50), ms(300))), ms(130));
}

#[test]
fn the_client_waits_from_one_answer_to_the_next() {
    let ms = Duration::from_millis;
    let pings = Pings {
        sent: vec![ms(0), ms(5), ms(10), ms(15), ms(20)],
        answered: vec![(0, ms(1)), (1, ms(6)), (4, ms(21))],
        end: ms(25),
    };
    assert_eq!(client(&pings, (ms(0), ms(22)), true), (ms(15), 2));
    assert_eq!(client(&pings, (ms(12), ms(22)), true), (ms(15), 1));
    assert_eq!(client(&pings, (ms(12), ms(22)), false), (ms(9), 1));
    assert_eq!(
        client(&Pings { end: ms(90), ..pings }, (ms(12), ms(22)), true),
        (ms(69), 1),
        "the last wait counts too"
    );
}
