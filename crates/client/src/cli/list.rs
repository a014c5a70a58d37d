//! `list`: keys as they come, page by page.

use std::io::Write;

use super::args::List;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::settings::Settings;
use crate::error::Error;
use crate::escape::escape;
use crate::json;
use crate::list::Item;

pub async fn list(args: List, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let client = connect(settings).await?;
    let bytes = |given: &Option<super::args::Bytes>| given.as_ref().map(|bytes| bytes.0.clone()).unwrap_or_default();
    let mut listing = client.list(&bytes(&args.prefix), &bytes(&args.after), args.limit);
    while let Some(page) = listing.next_page().await? {
        let mut lines = Vec::new();
        for item in &page {
            write(item, &args, console, &mut lines);
        }
        console.data(&lines)?;
    }
    Ok(Exit::Done)
}

fn write(item: &Item, args: &List, console: &Console, lines: &mut Vec<u8>) {
    let infallible = "memory takes every byte";
    if console.is_json() {
        serde_json::to_writer(&mut *lines, &json::entry(&item.key, &item.meta)).expect(infallible);
    } else if args.null {
        lines.extend_from_slice(&item.key);
    } else if args.long {
        let meta = &item.meta;
        write!(lines, "{:>12} {:>10} {:>10} {}", meta.size, meta.modify_revision, meta.create_revision, escape(&item.key))
            .expect(infallible);
    } else {
        lines.extend_from_slice(escape(&item.key).as_bytes());
    }
    lines.push(if args.null && !console.is_json() { 0 } else { b'\n' });
}
