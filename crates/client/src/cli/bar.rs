//! A progress bar on stderr, if somebody looks.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;

pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub fn new(console: &Console) -> Bar {
        let target = if console.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{spinner} {bytes} {bytes_per_sec}"));
        Bar { bar }
    }

    /// Called as bytes move.
    pub fn moved(&self, done: u64, total: Option<u64>) {
        if let Some(total) = total.filter(|total| self.bar.length() != Some(*total)) {
            self.bar.set_style(style("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
            self.bar.set_length(total);
        }
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant")
}
