//! `get` and `download`: one thing, to stdout or to a file.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::AsyncWrite;

use super::args::{Download, Get};
use super::bar::Bar;
use super::console::Console;
use super::exit::Exit;
use super::settings::Settings;
use super::{connect, counted, standard};
use crate::client::{Client, Value};
use crate::error::{Error, Kind};
use crate::escape::escape;
use crate::json;
use crate::meta::Meta;
use crate::sink::Sink;

pub async fn get(args: Get, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let key = &args.key.0;
    if console.is_json() {
        return get_json(&client, key, console).await;
    }
    show(&client, key, args.force, console).await
}

pub async fn download(args: Download, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let key = &args.key.0;
    if args.file == Path::new("-") {
        let terminal = std::io::stdout().is_terminal();
        return if terminal { show(&client, key, false, console).await } else { stream(&client, key, console).await };
    }
    // Before anything is asked: a file that cannot be written is known at once.
    let mut sink = Sink::file(&args.file).await?;
    let Some(meta) = fetch(&client, key, &mut sink, console).await? else { return Ok(absent(key, console)) };
    if console.is_json() {
        let mut object = serde_json::to_value(json::entry(key, &meta)).expect("our own types are JSON");
        object["file"] = json!(args.file.to_string_lossy());
        console.object(&object)?;
    }
    console.message(&format!("{} is in {}: {}, verified", escape(key), args.file.display(), counted(meta.size, "byte")));
    Ok(Exit::Done)
}

/// Writes what a terminal bears, unless forced; anything to a file or a pipe.
async fn show(client: &Client, key: &[u8], force: bool, console: &Console) -> Result<Exit, Error> {
    let terminal = std::io::stdout().is_terminal();
    match client.get(key).await? {
        None => Ok(absent(key, console)),
        Some(Value::Inline(_, value)) => {
            if terminal && !force && !is_text(&value) {
                return Err(binary(key, value.len() as u64));
            }
            console.data(&value)?;
            if terminal && !value.ends_with(b"\n") {
                console.data(b"\n")?;
            }
            Ok(Exit::Done)
        }
        // Nobody reads so much on a terminal, and what it is shows only when it is half there.
        Some(Value::Large(meta)) if terminal && !force => Err(binary(key, meta.size)),
        Some(Value::Large(_)) => stream(client, key, console).await,
    }
}

async fn stream(client: &Client, key: &[u8], console: &Console) -> Result<Exit, Error> {
    let mut sink = Sink::stream("stdout", standard(std::io::stdout())?);
    let found = fetch(client, key, &mut sink, console).await?;
    Ok(if found.is_some() { Exit::Done } else { absent(key, console) })
}

async fn fetch(client: &Client, key: &[u8], sink: &mut Sink<'_>, console: &Console) -> Result<Option<Meta>, Error> {
    let bar = Bar::new(console);
    client.download(key, sink, &mut |done, total| bar.moved(done, total)).await
}

async fn get_json(client: &Client, key: &[u8], console: &Console) -> Result<Exit, Error> {
    match client.get(key).await? {
        None => Ok(absent(key, console)),
        Some(Value::Inline(meta, value)) => {
            let mut object = serde_json::to_value(json::entry(key, &meta)).expect("our own types are JSON");
            object.as_object_mut().expect("an entry is an object").extend(json::bytes("value", &value));
            console.object(&object).map(|()| Exit::Done)
        }
        Some(Value::Large(_)) => {
            // The value comes first, because its revision is certain only when it is here.
            console.data(b"{\"value_b64\":\"")?;
            let mut base64 = Base64::default();
            let meta = fetch(client, key, &mut Sink::stream("stdout", &mut base64), console).await?;
            let Some(meta) = meta else { return Ok(absent(key, console)) };
            console.data(STANDARD.encode(&base64.rest).as_bytes())?;
            let entry = serde_json::to_string(&json::entry(key, &meta)).expect("our own types are JSON");
            console.data(format!("\",{}\n", &entry[1..]).as_bytes()).map(|()| Exit::Done)
        }
    }
}

/// Writes base64 to stdout as bytes come, keeping what does not fill a group of three.
#[derive(Default)]
struct Base64 {
    rest: Vec<u8>,
}

impl AsyncWrite for Base64 {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / 3 * 3;
        let text = STANDARD.encode(&self.rest[..whole]);
        self.rest.drain(..whole);
        std::io::stdout().lock().write_all(text.as_bytes())?;
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(std::io::stdout().lock().flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_flush(cx)
    }
}

fn absent(key: &[u8], console: &Console) -> Exit {
    console.no("absent", &format!("there is no key {}", escape(key)))
}

fn binary(key: &[u8], size: u64) -> Error {
    let message = format!("{} is no text ({}), and stdout is a terminal", escape(key), counted(size, "byte"));
    Error::new(Kind::Usage, message, "write it to a file with `download KEY FILE`, or to this terminal with `get --force KEY`")
}

/// Whether a terminal shows it as it is.
fn is_text(value: &[u8]) -> bool {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    str::from_utf8(value).is_ok_and(|text| text.chars().all(harmless))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_a_terminal_shows_unharmed() {
        for (value, text) in
            [(&b"Hello\tWorld\r\n"[..], true), (b"", true), ("caf\u{e9}".as_bytes(), true), (b"\x1b[2J", false), (b"\xff\xd8", false)]
        {
            assert_eq!(is_text(value), text, "{value:?}");
        }
    }
}
