//! What a reflector decides: whom it answers, how often, with which number. All of it in memory that never grows, since
//! whoever forges source addresses can name as many as there are.

mod hash;
mod limiter;
mod numbers;
mod recent;
mod refusal;

pub use hash::Seed;
pub use limiter::{Limit, Limiter};
pub use numbers::{Numbers, SessionKey};
pub use recent::Recent;
pub use refusal::{Outcome, refusal};
