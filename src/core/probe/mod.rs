//! What a prober makes of packets sent and answers heard: accounting, delay, direction of loss, who answers.
//!
//! A probe is *in flight* until it is answered or its timeout has passed, and *received* or *lost* from then on, for
//! good: sent = received + lost + in flight, at every moment. Whatever comes in is exactly one of: the first answer in
//! time, in order or reordered; late; duplicated; corrupted; refused; stray. See [`Counts`].

mod clock;
mod counts;
mod direction;
mod flow;
mod holder;
mod latency;
mod pace;
mod ring;
mod session;

pub use clock::{Dropped, Stamps, arrival, rtt};
pub use counts::Counts;
pub use flow::{Answer, Flow, Reply, Verdict};
pub use holder::{HolderNews, Holders};
pub use latency::{BOUNDS, Buckets, Latency};
pub use pace::Pace;
pub use ring::neighbours;
pub use session::{Path, Session, Settings};
