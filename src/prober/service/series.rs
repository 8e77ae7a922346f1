//! What the prober exports: a picture of all targets, taken at once.

use super::Prober;
use super::wanted::Place;
use crate::core::time::Time;
use crate::metrics::{HolderSeries, Parts, ProbeSeries, label};
use crate::prober::clock;
use crate::prober::engine::{SendError, Target};

impl Prober {
    /// The metrics text of all targets, as they are now.
    #[must_use]
    pub fn render(&self) -> Parts {
        let (series, strangers) = self.picture();
        crate::metrics::render_probes(series, strangers, self.settings.smokeping)
    }

    fn picture(&self) -> (Vec<ProbeSeries>, u64) {
        let measured = self.measured();
        let engine = self.runner.engine();
        let now = clock::monotonic();
        let of = |(place, id): (&Place, &_)| Some(self.series(place, engine.target(*id)?, now));
        (measured.iter().filter_map(of).collect(), engine.strangers())
    }

    fn series(&self, place: &Place, target: &Target, now: Time) -> ProbeSeries {
        let address = place.address.ip().to_string();
        let labels = [
            label("probe", &place.probe.to_string()),
            label("kind", place.kind.as_str()),
            label("target", &place.target),
            label("address", &address),
        ];
        let smokeping = self.settings.smokeping.then(|| {
            let labels = [
                label("ip", &address),
                label("host", &place.target),
                label("source", &self.settings.name),
                label("tos", &target.settings.tos.to_string()),
            ];
            labels.join(",")
        });
        let errors = SendError::ALL.iter().zip(target.send_errors);
        ProbeSeries {
            labels: labels.join(","),
            smokeping,
            counts: target.session.counts(),
            buckets: target.session.buckets().clone(),
            send_errors: errors.map(|(reason, count)| (reason.as_str(), count)).collect(),
            clock_steps: target.session.clock_steps(),
            ttl: target.ttl,
            holder: target.session.holders().map(|holders| HolderSeries {
                node: holders.current().map(str::to_owned),
                changes: holders.changes(),
                conflicts: holders.conflicts(),
                is_double: holders.is_double(now),
                last_gap: holders.gaps().0.as_secs_f64(),
                total_gap: holders.gaps().1.as_secs_f64(),
            }),
        }
    }
}
