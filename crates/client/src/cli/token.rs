//! `token new|show|revoke`: who may come in.

use proto::v1;
use serde_json::json;

use super::args::{NewToken, RevokeToken, Role};
use super::asked::asked;
use super::connect;
use super::console::Console;
use super::exit::Exit;
use super::settings::Settings;
use crate::error::{Error, Kind};
use crate::hex::hex;
use crate::json;

pub async fn new(args: NewToken, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let role = match (args.client, args.role) {
        (false, _) => v1::ClientRole::Unspecified,
        (true, Role::Read) => v1::ClientRole::Read,
        (true, Role::Write) => v1::ClientRole::Write,
        (true, Role::Admin) => v1::ClientRole::Admin,
    };
    let request = v1::NewTokenRequest {
        role: role.into(),
        prefix: args.prefix.map(|prefix| prefix.0).unwrap_or_default().into(),
        ttl_s: args.ttl.map_or(0, |ttl| ttl.as_secs().max(1)),
        uses: args.uses.unwrap_or(0),
    };
    let made = asked!(&connect(settings).await?, Possible, new_token, request);
    if console.is_json() {
        console.object(&json!({"token": made.token}))?;
        return Ok(Exit::Done);
    }
    let line = match args.client {
        true => format!("rusty-kv login {}", made.token),
        false => format!("rusty-kv cluster join {}", made.token),
    };
    console.data(format!("{line}\n").as_bytes())?;
    Ok(Exit::Done)
}

pub async fn show(settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let found = asked!(&connect(settings).await?, None, list_tokens, v1::ListTokensRequest {});
    for token in found.tokens {
        let role = match token.role() {
            v1::ClientRole::Unspecified => "board",
            v1::ClientRole::Read => "read",
            v1::ClientRole::Write => "write",
            v1::ClientRole::Admin => "admin",
        };
        let id = hex(&token.id);
        if console.is_json() {
            let mut shown = json::bytes("prefix", &token.prefix);
            shown.extend([("id".to_owned(), json!(id)), ("for".to_owned(), json!(role))]);
            shown.extend([("left_s".to_owned(), json!(token.left_s)), ("uses_left".to_owned(), json!(token.uses_left))]);
            console.object(&shown)?;
            continue;
        }
        let left = token.left_s.map_or("for ever".to_owned(), |left| format!("{} h left", left.div_ceil(3_600)));
        let uses = token.uses_left.map_or("any number of uses".to_owned(), |uses| format!("{uses} uses left"));
        let prefix = if token.prefix.is_empty() { String::new() } else { format!("  keys from \"{}\"", token.prefix.escape_ascii()) };
        console.data(format!("{id}  {role}  {left}  {uses}{prefix}\n").as_bytes())?;
    }
    Ok(Exit::Done)
}

pub async fn revoke(args: RevokeToken, settings: &Settings, console: &Console) -> Result<Exit, Error> {
    let bad = || Error::new(Kind::Usage, "a token's id is 16 hex digits", "`rusty-kv token show` lists them");
    let id = u64::from_str_radix(&args.id, 16).ok().filter(|_| args.id.len() == 16).ok_or_else(bad)?;
    let done = asked!(&connect(settings).await?, None, revoke_token, v1::RevokeTokenRequest { id: id.to_be_bytes().to_vec().into() });
    if done.revoked {
        console.message("revoked");
        return Ok(Exit::Done);
    }
    console.message("there is no such token");
    Ok(Exit::No)
}
