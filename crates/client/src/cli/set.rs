//! `set` and `upload`: one thing, the size decides which way the value goes.

use std::path::Path;

use super::args::{Set, Upload};
use super::bar::Bar;
use super::console::Console;
use super::exit::Exit;
use super::settings::Settings;
use super::{connect, counted, standard};
use crate::client::Written;
use crate::error::Error;
use crate::escape::escape;
use crate::json;
use crate::meta::{Condition, Meta};
use crate::source::Source;

pub async fn set(args: Set, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let source = match (args.value, args.file) {
        (Some(value), _) if value.0 == b"-" => stdin()?,
        (Some(value), _) => Source::Bytes(value.0.into()),
        (None, Some(file)) => Source::File(file),
        (None, None) => unreachable!("the grammar asks for one of them"),
    };
    store(&args.key.0, source, args.condition.condition(), settings, console).await
}

pub async fn upload(args: Upload, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    store(&args.key.0, source(&args.file)?, args.condition.condition(), settings, console).await
}

async fn store(key: &[u8], source: Source, condition: Option<Condition>, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let bar = Bar::new(console);
    let written = client.put(key, source, condition, &mut |done, total| bar.moved(done, total)).await?;
    drop(bar);
    match written {
        Written::Done(meta) => {
            if console.is_json() {
                console.object(&json::write(key, "done", Some(&meta)))?;
            }
            console.message(&format!("stored {}: {}, revision {}", escape(key), counted(meta.size, "byte"), meta.modify_revision));
            Ok(Exit::Done)
        }
        Written::ConditionFalse(meta) => condition_false(key, meta, console),
    }
}

/// Tells that a write did not happen because its condition does not hold.
pub fn condition_false(key: &[u8], meta: Option<Meta>, console: &Console) -> Result<Exit, Error> {
    if console.is_json() {
        console.object(&json::write(key, "condition_false", meta.as_ref()))?;
    }
    let state = match meta {
        Some(meta) => format!("the key has revision {}", meta.modify_revision),
        None => "there is no such key".into(),
    };
    Ok(console.no("condition_false", &format!("{} is left as it is: {state}", escape(key))))
}

fn source(file: &Path) -> Result<Source, Error> {
    if file == Path::new("-") { stdin() } else { Ok(Source::File(file.to_path_buf())) }
}

fn stdin() -> Result<Source, Error> {
    Ok(Source::Pipe("stdin".into(), Box::new(standard(std::io::stdin())?)))
}
