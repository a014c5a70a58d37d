//! The packaged sample file is the documentation of every key: it is made from the table of keys and stays in step.
//! `UPDATE_SAMPLE=1` rewrites it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use server::config::{self, Default, KEYS, Key, Kind, Request, SECTIONS, Surroundings};
use toml::de::DeValue;

const SAMPLE_COLUMNS: usize = 100;

const HEADER: &str = "\
# Configuration of a rusty-kv node (rusty-kvd).
#
# Every key there is. Where a line begins with # it shows the default, or an example where there is
# none; the others are set for boards with cards and Wi-Fi.
#
# Each over the one before: built-in defaults; this file; conf.d/*.toml beside it in name order; the
# environment; flags. Settings of your own are best put into a file of their own in conf.d.
#
# Before a restart, `rusty-kvd --check-config` tells everything that is wrong.
";

#[test]
fn the_sample_is_what_the_table_of_keys_says() {
    let made = render();
    if std::env::var_os("UPDATE_SAMPLE").is_some() {
        std::fs::write(sample_path(), &made).unwrap();
    }
    let packaged = std::fs::read_to_string(sample_path()).unwrap();
    assert!(packaged == made, "{} is out of step: run this test with UPDATE_SAMPLE=1 and look at the difference", sample_path().display());
}

#[test]
fn the_sample_is_a_configuration_for_cards_and_wifi() {
    let around = Surroundings { default_file: PathBuf::new(), vars: Vec::new(), hostname: "pi1".to_owned() };
    let config = config::load(&Request { file: Some(sample_path()), flags: Vec::new() }, &around).unwrap();
    assert_eq!(config.data_dir, Path::new("/var/lib/rusty-kv"));
    assert_eq!(config.timing.heartbeat, Duration::from_millis(200));
    assert_eq!((config.timing.election_min, config.timing.election_max), (Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!(config.network.listen, config::Listen::Loopback, "nothing is opened by installing the package");
}

#[test]
fn every_line_of_the_sample_can_be_uncommented() {
    let sample = std::fs::read_to_string(sample_path()).unwrap();
    for key in KEYS {
        let section = sample.split(&format!("\n[{}]\n", key.section())).nth(1).unwrap_or_else(|| panic!("no section for {}", key.path));
        let section = section.split("\n[").next().unwrap();
        let assignment = format!("{} = ", key.name());
        let literals: Vec<&str> = section.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(&assignment)).collect();
        let [literal] = literals[..] else { panic!("{} stands in the sample once: {literals:?}", key.path) };
        let value = DeValue::parse(literal).unwrap_or_else(|error| panic!("{}: {error}", key.path));
        assert!(key.kind.from_toml(value.get_ref()).is_some(), "{} = {literal}", key.path);
        if let (Default::Fixed(default), None) = (&key.default, key.packaged) {
            assert_eq!(literal, *default, "{}", key.path);
        }
    }
}

fn sample_path() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&own).join("../../packaging/rusty-kv.toml")
}

fn render() -> String {
    let mut sample = HEADER.to_owned();
    for (section, doc) in SECTIONS {
        sample.push_str(&format!("\n{}[{section}]\n", comment(doc)));
        for key in KEYS.iter().filter(|key| key.section() == section) {
            sample.push_str(&format!(
                "\n{}{}",
                comment(key.doc),
                comment(&format!("Allowed: {}. {}", key.kind.allowed_in_toml(), default_of(key)))
            ));
            sample.push_str(&format!("{}{}\n", comment(&ways_of(key)), assignment_of(key)));
        }
    }
    sample
}

fn default_of(key: &Key) -> String {
    let default = match key.default {
        Default::Fixed(literal) => literal,
        Default::Otherwise { says, .. } => says,
    };
    match key.packaged {
        Some(packaged) => format!("Default: {default}; this file: {packaged}."),
        None => format!("Default: {default}."),
    }
}

fn ways_of(key: &Key) -> String {
    match (key.flag, &key.kind) {
        (Some(flag), Kind::Switch) => format!("Environment {}, flag --{}.", key.env(), flag.long),
        (Some(flag), _) => format!("Environment {}, flag --{} {}.", key.env(), flag.long, flag.value_name),
        (None, _) => format!("Environment {}.", key.env()),
    }
}

fn assignment_of(key: &Key) -> String {
    match (key.packaged, &key.default) {
        (Some(packaged), _) => format!("{} = {packaged}", key.name()),
        (None, Default::Fixed(literal)) => format!("#{} = {literal}", key.name()),
        (None, Default::Otherwise { example, .. }) => format!("#{} = {example}", key.name()),
    }
}

/// Comment lines of at most [`SAMPLE_COLUMNS`].
fn comment(prose: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in prose.split_whitespace() {
        if lines.last().unwrap().len() + 1 + word.len() > SAMPLE_COLUMNS {
            lines.push("#".to_owned());
        }
        let line = lines.last_mut().unwrap();
        line.push(' ');
        line.push_str(word);
    }
    lines.join("\n") + "\n"
}
