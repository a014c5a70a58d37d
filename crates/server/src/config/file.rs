//! The layer of files: one TOML file and what lies in `conf.d` beside it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::fault::{Source, quoted};
use super::key::{self, SECTIONS};
use super::nearest;
use super::settings::Settings;

/// Larger files are refused.
const CONFIG_FILE_MAX_BYTES: u64 = 1 << 20;

/// Reads `path`, then each `*.toml` of the `conf.d` beside it in name order (hidden files left out). Where the file
/// is not `required` it may be missing. Returns what was read, in order.
pub fn read(path: &Path, required: bool, settings: &mut Settings) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if required || !is_missing(path) {
        files.push(path.to_owned());
    }
    let folder = path.with_file_name("conf.d");
    match drop_ins(&folder) {
        Ok(more) => files.extend(more),
        Err(error) => settings.fault(whole(&folder), format!("cannot be listed: {error}"), "make it readable for this user"),
    }
    for file in &files {
        match text_of(file) {
            Ok(text) => settings.in_line_order(|settings| Reader { path: file, text: &text, settings }.document()),
            Err(error) => settings.fault(whole(file), format!("cannot be read: {error}"), "name an existing, readable TOML file"),
        }
    }
    files
}

/// A link that leads nowhere is not missing but an error to be told.
fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn drop_ins(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if is_missing(folder) {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(CONFIG_FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > CONFIG_FILE_MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {CONFIG_FILE_MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn whole(path: &Path) -> Source {
    Source::File { path: path.to_owned(), line: 0 }
}

/// Walks one file against the table of keys.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    settings: &'a mut Settings,
}

impl Reader<'_> {
    fn document(mut self) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let source = error.span().map_or_else(|| whole(self.path), |span| self.source(&span));
            self.settings.fault(
                source,
                format!("is not TOML: {}", quoted(error.message())),
                "write key = value lines under [section] lines",
            );
        }
        // What the parser guessed behind a syntax error would only yield further faults that are none.
        if !errors.is_empty() {
            return;
        }
        for (name, value) in table.get_ref() {
            self.section(name.get_ref(), &name.span(), value.get_ref());
        }
    }

    fn section(&mut self, section: &str, span: &Range<usize>, value: &DeValue<'_>) {
        let source = self.source(span);
        let is_known = SECTIONS.iter().any(|(known, _)| *known == section);
        match value {
            DeValue::Table(keys) if is_known => {
                for (name, value) in keys {
                    self.key(section, name.get_ref(), &name.span(), value.get_ref(), &value.span());
                }
            }
            DeValue::Table(_) => {
                let advice = match nearest::section(section) {
                    Some(meant) => format!("did you mean [{meant}]?"),
                    None => format!("sections: {}", SECTIONS.map(|(known, _)| known).join(", ")),
                };
                self.settings.fault(source, format!("unknown section [{}]", quoted(section)), advice);
            }
            _ if is_known => {
                let advice = format!("write [{section}] on a line of its own, once, and its keys below");
                self.settings.fault(source, format!("{section} is a section and has no value itself"), advice);
            }
            _ => {
                let advice = match nearest::key("", section) {
                    Some(meant) => format!("did you mean {} under [{}]?", meant.name(), meant.section()),
                    None => format!("every key stands under one of the sections {}", SECTIONS.map(|(known, _)| known).join(", ")),
                };
                self.settings.fault(source, format!("unknown key {} outside of every section", quoted(section)), advice);
            }
        }
    }

    fn key(&mut self, section: &str, name: &str, name_span: &Range<usize>, value: &DeValue<'_>, value_span: &Range<usize>) {
        let Some(key) = key::find(&format!("{section}.{name}")) else {
            let known: Vec<&str> = key::in_section(section).map(|key| key.name()).collect();
            let advice = match nearest::key(section, name) {
                Some(meant) if meant.section() == section => format!("did you mean {}?", meant.name()),
                Some(meant) => format!("did you mean {} under [{}]?", meant.name(), meant.section()),
                None => format!("keys of [{section}]: {}", known.join(", ")),
            };
            let source = self.source(name_span);
            return self.settings.fault(source, format!("unknown key {section}.{}", quoted(name)), advice);
        };
        let source = self.source(value_span);
        match key.kind.from_toml(value) {
            Some(value) => self.settings.set(key, value, source),
            None => {
                let mut allowed = key.kind.allowed_in_toml();
                if value.as_str().is_some_and(|text| key.kind.from_text(text).is_some()) {
                    allowed.push_str(", without quotes");
                }
                self.settings.reject(key, &self.text[value_span.clone()], source, allowed);
            }
        }
    }

    fn source(&self, span: &Range<usize>) -> Source {
        let line = 1 + self.text.as_bytes()[..span.start].iter().filter(|byte| **byte == b'\n').count();
        Source::File { path: self.path.to_owned(), line }
    }
}
