//! The layer of the command line.

use std::ffi::OsString;

use super::fault::Source;
use super::key::{Key, keys_of_flag};
use super::settings::Settings;

/// A flag as it was given.
#[derive(Clone, Debug)]
pub struct GivenFlag {
    /// Without the dashes; one that the table of keys names.
    pub long: &'static str,
    pub text: OsString,
}

pub fn read(flags: &[GivenFlag], settings: &mut Settings) {
    for flag in flags {
        let keys: Vec<&'static Key> = keys_of_flag(flag.long).collect();
        let source = Source::Flag(flag.long);
        let (first, second) = match keys[..] {
            [only] => {
                settings.set_text(only, &flag.text, source);
                continue;
            }
            [first, second] => (first, second),
            _ => unreachable!("the table knows --{} for one key or two", flag.long),
        };
        match flag.text.to_str().and_then(|text| text.split_once('-')) {
            Some((low, high)) => {
                settings.set_text(first, low.as_ref(), source.clone());
                settings.set_text(second, high.as_ref(), source);
            }
            None => settings.reject(first, &format!("\"{}\"", flag.text.display()), source, "MIN-MAX, such as 150-300".to_owned()),
        }
    }
}
