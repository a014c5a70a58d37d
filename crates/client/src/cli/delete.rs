//! `delete`: keys by name, or all that begin alike.
//!
//! By prefix it counts first and asks. What is deleted is what was counted: a key written after the count has a higher revision, and is kept.

use std::io::IsTerminal;

use serde_json::json;
use tokio::task::JoinSet;

use super::args::Delete;
use super::ask::ask;
use super::console::Console;
use super::exit::Exit;
use super::set::condition_false;
use super::settings::Settings;
use super::{connect, counted};
use crate::client::{Client, Deleted};
use crate::error::{Error, Kind};
use crate::escape::escape;
use crate::json;
use crate::meta::Condition;

/// Deletes by prefix under way at a time.
const IN_FLIGHT: usize = 16;

pub async fn delete(args: Delete, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let condition = args.condition.condition();
    if condition.is_some() && (args.prefix.is_some() || args.keys.len() != 1) {
        return Err(usage("a condition goes with exactly one key", "delete the keys one by one"));
    }
    let Some(prefix) = &args.prefix else {
        let client = connect(settings).await?;
        let mut exit = Exit::Done;
        for key in &args.keys {
            let one = delete_key(&client, &key.0, condition, console).await?;
            exit = if one == Exit::Done { exit } else { one };
        }
        return Ok(exit);
    };
    if prefix.0.is_empty() && !args.all {
        return Err(usage("an empty prefix means every key there is", "add --all if you mean that"));
    }
    if !args.yes && !std::io::stdin().is_terminal() {
        return Err(usage("there is no terminal to ask on", "add --yes to delete without being asked"));
    }
    delete_prefix(&connect(settings).await?, &prefix.0, args.yes, console).await
}

async fn delete_key(client: &Client, key: &[u8], condition: Option<Condition>, console: &Console) -> Result<Exit, Error> {
    let result = match client.delete(key, condition).await? {
        Deleted::Done => "done",
        Deleted::Absent => "absent",
        Deleted::ConditionFalse(meta) => return condition_false(key, meta, console),
    };
    if console.is_json() {
        console.object(&json::write(key, result, None))?;
    }
    if result == "done" {
        console.message(&format!("deleted {}", escape(key)));
        return Ok(Exit::Done);
    }
    Ok(console.no("absent", &format!("there is no key {}", escape(key))))
}

async fn delete_prefix(client: &Client, prefix: &[u8], yes: bool, console: &Console) -> Result<Exit, Error> {
    let (count, newest) = count(client, prefix).await?;
    let question =
        format!("{} with \"{}\"", if count == 1 { "1 key begins".into() } else { format!("{count} keys begin") }, escape(prefix));
    if count > 0 && !yes && !ask(&format!("{question}; delete them?")).await? {
        console.message("nothing was deleted");
        return Ok(Exit::Done);
    }
    let mut tally = Tally { deleted: 0, kept: 0 };
    match sweep(client, prefix, newest, &mut tally).await {
        Ok(()) => {}
        Err(error) => {
            let message = format!("{} ({} of {} deleted before)", error.message, tally.deleted, counted(count, "key"));
            return Err(Error { message, ..error });
        }
    }
    if console.is_json() {
        let mut object = json::bytes("prefix", prefix);
        object.extend([("deleted".into(), json!(tally.deleted)), ("kept".into(), json!(tally.kept))]);
        console.object(&object)?;
    }
    let kept = if tally.kept > 0 { format!(", {} written meanwhile are kept", tally.kept) } else { String::new() };
    if count == 0 {
        return Ok(console.no("absent", &format!("no key begins with \"{}\"", escape(prefix))));
    }
    console.message(&format!("deleted {}{kept}", counted(tally.deleted, "key")));
    Ok(Exit::Done)
}

struct Tally {
    deleted: u64,
    kept: u64,
}

/// How many keys there are, and the highest modify revision among them.
async fn count(client: &Client, prefix: &[u8]) -> Result<(u64, u64), Error> {
    let (mut count, mut newest) = (0, 0);
    let mut listing = client.list(prefix, b"", None);
    while let Some(page) = listing.next_page().await? {
        count += page.len() as u64;
        newest = page.iter().map(|item| item.meta.modify_revision).fold(newest, u64::max);
    }
    Ok((count, newest))
}

async fn sweep(client: &Client, prefix: &[u8], newest: u64, tally: &mut Tally) -> Result<(), Error> {
    let mut listing = client.list(prefix, b"", None);
    let mut deleting = JoinSet::new();
    while let Some(page) = listing.next_page().await? {
        for item in page {
            if item.meta.modify_revision > newest {
                tally.kept += 1;
                continue;
            }
            if deleting.len() == IN_FLIGHT {
                settle(&mut deleting, tally).await?;
            }
            let client = client.clone();
            deleting.spawn(async move { client.delete(&item.key, Some(Condition::Revision(item.meta.modify_revision))).await });
        }
    }
    while !deleting.is_empty() {
        settle(&mut deleting, tally).await?;
    }
    Ok(())
}

async fn settle(deleting: &mut JoinSet<Result<Deleted, Error>>, tally: &mut Tally) -> Result<(), Error> {
    let Some(joined) = deleting.join_next().await else { return Ok(()) };
    match joined.expect("a delete does not panic")? {
        Deleted::Done => tally.deleted += 1,
        Deleted::Absent => {}
        Deleted::ConditionFalse(None) => {}
        Deleted::ConditionFalse(Some(_)) => tally.kept += 1,
    }
    Ok(())
}

fn usage(message: &str, next: &str) -> Error {
    Error::new(Kind::Usage, message, next)
}
