//! A bar on standard error, when that is a terminal, the results go elsewhere, and the job takes longer than a moment.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long a job runs without a bar.
const MOMENT: Duration = Duration::from_secs(1);
/// Steps between looks at the clock.
const STRIDE: u32 = 4096;

/// How far a job is.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// What there is to do in all, if that is known.
    total: Option<u64>,
    done: u64,
    steps: u32,
    begin: Option<Instant>,
}

impl Progress {
    /// A job of `total` bytes or items; nothing is drawn yet.
    pub(super) fn new(total: Option<u64>) -> Self {
        // Results that run over the same terminal show the progress themselves.
        let seen = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        let begin = seen.then(Instant::now);
        Self { bar: ProgressBar::hidden(), total, done: 0, steps: 0, begin }
    }

    /// Counts a step that did `amount` of the total.
    #[inline]
    pub(super) fn advance(&mut self, amount: u64) {
        self.done += amount;
        self.steps += 1;
        if self.steps.is_multiple_of(STRIDE) {
            self.draw();
        }
    }

    fn draw(&mut self) {
        let Some(begin) = self.begin.filter(|begin| begin.elapsed() >= MOMENT) else { return };
        if self.bar.is_hidden() {
            self.bar = ProgressBar::with_draw_target(self.total, ProgressDrawTarget::stderr_with_hz(5))
                .with_style(style(self.total.is_some()))
                .with_elapsed(begin.elapsed());
        }
        self.bar.set_position(self.done);
    }

    /// Prints a line above the bar.
    pub(super) fn report(&self, line: &str) {
        // A standard error that is gone leaves nobody to tell.
        self.bar.suspend(|| {
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(sized: bool) -> ProgressStyle {
    let template = if sized { "{elapsed} [{bar:40}] {percent}% {eta} left" } else { "{elapsed} {spinner} {human_pos}" };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
