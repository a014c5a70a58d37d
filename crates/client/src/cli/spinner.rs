//! A line on stderr that says what is waited for, if somebody looks.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;
use crate::escape::escape;

pub struct Spinner {
    bar: ProgressBar,
}

impl Spinner {
    pub fn new(console: &Console) -> Spinner {
        let target = if console.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is a constant"));
        Spinner { bar }
    }

    pub fn say(&self, text: &str) {
        self.bar.set_message(escape(text.as_bytes()));
        self.bar.tick();
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
