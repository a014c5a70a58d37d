//! Where log lines go: to the systemd journal as fields, else to stderr as text.
//!
//! - The level is the configuration's; `RUST_LOG`, where set, has the last word, also for single modules.
//! - Libraries that report every connection are heard only when they warn.
//! - Under the journal the key-value pairs are fields (`journalctl TERM=7`), and stand in the message as well, since
//!   plain `journalctl` shows nothing else. Do not name a pair like one of the journal's own fields (`message`,
//!   `priority`, `target`, `code_line`): the journal would keep both.
//! - A peer's text in a value cannot begin a new line: values are quoted when they hold anything unusual.

use std::fmt::Write as _;
use std::io::Write as _;

use log::kv::{self, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// What systemd and `journalctl -t` call us, whatever the binary's file name.
const IDENTIFIER: &str = "rusty-kvd";

/// Libraries held to warnings.
const NOISY_MODULES: [&str; 6] = ["h2", "hyper", "hyper_util", "mdns_sd", "tonic", "tower"];

/// Installs the process's logger. To be called once, before the first log line.
pub fn init(level: LevelFilter) {
    let filter = filter(level, std::env::var("RUST_LOG").ok().as_deref());
    let max_level = filter.filter();
    let journal = if connected_to_journal() { JournalLog::empty().ok() } else { None };
    let logger: Box<dyn Log> = match journal {
        Some(journal) => Box::new(Journal { filter, journal: journal.with_syslog_identifier(IDENTIFIER.to_owned()) }),
        None => Box::new(filter),
    };
    log::set_boxed_logger(logger).expect("the logger is installed once");
    log::set_max_level(max_level);
}

/// The logger for stderr, which is also the judge of what is logged at all.
fn filter(level: LevelFilter, rust_log: Option<&str>) -> env_logger::Logger {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(level);
    for module in NOISY_MODULES {
        builder.filter_module(module, level.min(LevelFilter::Warn));
    }
    if let Some(directives) = rust_log {
        builder.parse_filters(directives);
    }
    builder.format(|out, record| {
        let time = out.timestamp_millis();
        writeln!(out, "{time} {:5} {}: {}", record.level(), record.target(), told(record))
    });
    builder.build()
}

/// The message, then its pairs: `became leader term=7 votes=2`.
fn told(record: &Record<'_>) -> String {
    let mut text = record.args().to_string();
    record.key_values().visit(&mut Pairs(&mut text)).expect("writing to a string succeeds");
    text
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        let is_plain = !value.is_empty() && value.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"');
        let written = if is_plain { write!(self.0, " {key}={value}") } else { write!(self.0, " {key}={value:?}") };
        written.map_err(kv::Error::from)
    }
}

struct Journal {
    filter: env_logger::Logger,
    journal: JournalLog,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            let text = told(record);
            let told = format_args!("{text}");
            self.journal.log(&record.to_builder().args(told).build());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    #[test]
    fn pairs_follow_the_message_and_cannot_forge_a_line() {
        let pairs: [(&str, kv::Value<'_>); 4] =
            [("term", 7.into()), ("peer", "pi2".into()), ("name", "x\n2026 ERROR".into()), ("why", "".into())];
        let record = Record::builder().args(format_args!("became leader")).key_values(&pairs).build();
        assert_eq!(told(&record), r#"became leader term=7 peer=pi2 name="x\n2026 ERROR" why="""#);
    }

    #[test]
    fn libraries_are_held_to_warnings_until_rust_log_asks() {
        let heard =
            |level, rust_log, target, record| filter(level, rust_log).enabled(&Metadata::builder().level(record).target(target).build());
        for (level, rust_log, target, record, is_heard) in [
            (LevelFilter::Info, None, "server::run", Level::Info, true),
            (LevelFilter::Info, None, "server::run", Level::Debug, false),
            (LevelFilter::Debug, None, "h2::codec", Level::Info, false),
            (LevelFilter::Debug, None, "h2::codec", Level::Warn, true),
            (LevelFilter::Error, None, "mdns_sd::service_daemon", Level::Warn, false),
            (LevelFilter::Info, Some("debug"), "server::run", Level::Debug, true),
            (LevelFilter::Info, Some("debug"), "hyper::proto", Level::Debug, false),
            (LevelFilter::Info, Some("hyper=trace"), "hyper::proto", Level::Trace, true),
            (LevelFilter::Info, Some("hyper=trace"), "server::run", Level::Info, true),
        ] {
            assert_eq!(heard(level, rust_log, target, record), is_heard, "{level} {rust_log:?} {target} {record}");
        }
    }
}
