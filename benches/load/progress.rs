//! The line that says where a run is, while it runs. Nothing on anything but a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::tally::Tally;

const TEMPLATE: &str = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {elapsed}";
const REDRAW: Duration = Duration::from_millis(200);

/// The line of one run.
pub(crate) struct Progress {
    bar: ProgressBar,
    title: String,
}

impl Progress {
    pub(crate) fn new(title: String) -> Self {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is a literal");
        bar.set_style(style);
        Self { bar, title }
    }

    /// What happens now, and how much of it there is.
    pub(crate) fn phase(&self, what: &str, length: u64) {
        self.bar.set_message(format!("{}: {what}", self.title));
        self.bar.reset();
        self.bar.set_length(length);
    }

    /// Shows `count` until dropped.
    pub(crate) async fn follow(&self, tally: &Arc<Tally>, count: impl Fn(&Tally) -> u64) -> ! {
        loop {
            self.bar.set_position(count(tally));
            tokio::time::sleep(REDRAW).await;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
