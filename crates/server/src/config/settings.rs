//! Values by key, the later layer over the earlier, each with where it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use toml::de::DeValue;

use super::fault::{Fault, Source, quoted};
use super::key::{Default, KEYS, Key};
use super::value::Value;

/// What the layers gave so far, and what was wrong with it.
pub struct Settings {
    given: BTreeMap<&'static str, (Value, Source)>,
    broken: BTreeSet<&'static str>,
    faults: Vec<Fault>,
}

/// What is known of a key that need not be set.
pub enum Setting<T> {
    Unset,
    Set(T),
    /// Given wrongly, which is already among the faults.
    Broken,
}

impl Settings {
    /// The built-in defaults.
    pub fn defaults() -> Settings {
        let mut given = BTreeMap::new();
        for key in KEYS {
            if let Default::Fixed(literal) = key.default {
                let value = DeValue::parse(literal).ok().and_then(|value| key.kind.from_toml(value.get_ref()));
                given.insert(key.path, (value.expect("a default is allowed for its key"), Source::Default));
            }
        }
        Settings { given, broken: BTreeSet::new(), faults: Vec::new() }
    }

    /// Lays a value over the earlier ones.
    pub fn set(&mut self, key: &'static Key, value: Value, source: Source) {
        self.given.insert(key.path, (value, source));
    }

    /// Lays the text of a flag or a variable over the earlier values, if it is allowed for `key`.
    pub fn set_text(&mut self, key: &'static Key, text: &OsStr, source: Source) {
        let shown = format!("\"{}\"", text.display());
        match text.to_str().map(|text| key.kind.from_text(text)) {
            Some(Some(value)) => self.set(key, value, source),
            Some(None) => self.reject(key, &shown, source, key.kind.allowed_in_text()),
            None => self.reject(key, &shown, source, "UTF-8 text".to_owned()),
        }
    }

    /// Records that `written` is not allowed for `key`. Checks across keys then leave the key out.
    pub fn reject(&mut self, key: &'static Key, written: &str, source: Source, allowed: String) {
        self.broken.insert(key.path);
        self.fault(source, format!("{} = {} is not allowed", key.path, quoted(written)), format!("allowed: {allowed}"));
    }

    pub fn fault(&mut self, source: Source, problem: impl Into<String>, advice: impl Into<String>) {
        self.faults.push(Fault { source, problem: problem.into(), advice: advice.into() });
    }

    /// Runs `read`, then puts the faults it found into the order of lines: the parser yields keys by name.
    pub fn in_line_order(&mut self, read: impl FnOnce(&mut Settings)) {
        let before = self.faults.len();
        read(self);
        self.faults[before..].sort_by_key(|fault| match fault.source {
            Source::File { line, .. } => line,
            _ => 0,
        });
    }

    pub fn into_faults(self) -> Vec<Fault> {
        self.faults
    }

    /// A number that is given or has a default; `None` if it was given wrongly.
    pub fn whole(&self, key: &'static Key) -> Option<u64> {
        match self.sound(key)? {
            Value::Whole(number) => Some(*number),
            _ => unreachable!("{} is a number", key.path),
        }
    }

    pub fn switch(&self, key: &'static Key) -> Option<bool> {
        match self.sound(key)? {
            Value::Switch(on) => Some(*on),
            _ => unreachable!("{} is a switch", key.path),
        }
    }

    pub fn text(&self, key: &'static Key) -> Option<&str> {
        match self.sound(key)? {
            Value::Text(text) => Some(text),
            _ => unreachable!("{} is a text", key.path),
        }
    }

    pub fn list(&self, key: &'static Key) -> Option<&[String]> {
        match self.sound(key)? {
            Value::List(items) => Some(items),
            _ => unreachable!("{} is a list", key.path),
        }
    }

    /// For a key without a fixed default: `read` is one of the readers above.
    pub fn optional<'a, T>(&'a self, key: &'static Key, read: impl FnOnce(&'a Settings, &'static Key) -> Option<T>) -> Setting<T> {
        match read(self, key) {
            Some(value) => Setting::Set(value),
            None if self.broken.contains(key.path) => Setting::Broken,
            None => Setting::Unset,
        }
    }

    /// Where the key's value came from.
    pub fn source(&self, key: &'static Key) -> Source {
        self.given.get(key.path).map_or(Source::Default, |(_, source)| source.clone())
    }

    /// Where to look first when two keys do not go together: `key`, unless only the other one was set by somebody.
    pub fn nearer_source(&self, key: &'static Key, other: &'static Key) -> Source {
        match self.source(key) {
            Source::Default => self.source(other),
            source => source,
        }
    }

    fn sound(&self, key: &'static Key) -> Option<&Value> {
        if self.broken.contains(key.path) {
            return None;
        }
        self.given.get(key.path).map(|(value, _)| value)
    }
}
