//! Tokens: what lets boards and people in. The log holds a secret's hash; the secret itself is shown once.

use std::sync::Arc;

use proto::v1::{self as wire, Reason};
use replica::{
    Command, Operation,
    state::{self, Outcome, TokenGrant, TokenRecord, TrustChange, TrustOutcome},
};
use tonic::Status;
use trust::Token;

use super::cluster_time;
use crate::{
    convert,
    node::Node,
    services::{
        failure::{not_executed, rejected, unreadable},
        requests::{read_barrier, write},
    },
};

pub async fn new_token(node: &Arc<Node>, asked: wire::NewTokenRequest) -> Result<wire::NewTokenResponse, Status> {
    let role = convert::token_role(asked.role).map_err(|error| rejected(Reason::Malformed, error.to_string()))?;
    if role.is_none() && !asked.prefix.is_empty() {
        return Err(rejected(Reason::Malformed, "a prefix is for a client's token"));
    }
    if role == Some(2) && !asked.prefix.is_empty() {
        return Err(rejected(Reason::Malformed, "an administrator acts for all keys: the role admin takes no prefix"));
    }
    if asked.prefix.len() > trust::PREFIX_MAX_BYTES {
        return Err(rejected(Reason::KeySize, format!("a prefix of a login has at most {} bytes", trust::PREFIX_MAX_BYTES)));
    }
    let grants = role.map_or(TokenGrant::Node, |role| TokenGrant::Client { role, prefix: asked.prefix.to_vec() });
    Ok(wire::NewTokenResponse { token: issue(node, grants, asked.ttl_s, asked.uses).await? })
}

/// A token in the log; `ttl_s` and `uses`: 0 is without end. Returns the token's text.
pub async fn issue(node: &Arc<Node>, grants: TokenGrant, ttl_s: u64, uses: u32) -> Result<String, Status> {
    read_barrier(node).await?;
    let trust = state::trust(&*node.state.get()).map_err(|error| unreadable(&error))?;
    let token = Token::make(trust.ok_or_else(no_authority)?.shown).map_err(|error| not_executed(Reason::Stopping, error.to_string()))?;
    let expires = (ttl_s > 0).then(|| cluster_time::now(node).saturating_add(ttl_s));
    let record = TokenRecord { id: token.id, secret_hash: token.secret_hash(), grants, expires, uses_left: (uses > 0).then_some(uses) };
    match change(node, TrustChange::AddToken(record)).await? {
        TrustOutcome::TooMany => Err(rejected(Reason::Overloaded, "there are too many tokens; revoke one first: `rusty-kv token show`")),
        _ => Ok(token.to_string()),
    }
}

pub async fn list_tokens(node: &Arc<Node>) -> Result<wire::ListTokensResponse, Status> {
    read_barrier(node).await?;
    let now = cluster_time::now(node);
    let tokens = state::tokens(&*node.state.get()).map_err(|error| unreadable(&error))?;
    let shown = |token: TokenRecord| {
        let (role, prefix) = match token.grants {
            TokenGrant::Node => (wire::ClientRole::Unspecified, Vec::new()),
            TokenGrant::Client { role, prefix } => (role_to_wire(role), prefix),
        };
        wire::TokenInfo {
            id: token.id.to_vec().into(),
            role: role.into(),
            prefix: prefix.into(),
            left_s: token.expires.map(|expires| expires.saturating_sub(now)),
            uses_left: token.uses_left,
        }
    };
    Ok(wire::ListTokensResponse { tokens: tokens.into_iter().map(shown).collect() })
}

pub async fn revoke_token(node: &Arc<Node>, id: &[u8]) -> Result<wire::RevokeTokenResponse, Status> {
    let id = id.try_into().map_err(|_| rejected(Reason::Malformed, "a token's id is 8 bytes"))?;
    let outcome = change(node, TrustChange::RevokeToken { id }).await?;
    Ok(wire::RevokeTokenResponse { revoked: outcome == TrustOutcome::Changed })
}

/// Has the log change who is trusted.
pub async fn change(node: &Arc<Node>, change: TrustChange) -> Result<TrustOutcome, Status> {
    match write(node, Command { session: None, operation: Operation::Trust(change) }, None).await? {
        Outcome::Trust(outcome) => Ok(outcome),
        _ => unreachable!("a change of trust has no other outcome"),
    }
}

pub fn no_authority() -> Status {
    rejected(Reason::OtherCluster, "this cluster is open: it has no authority that could let anybody in")
}

fn role_to_wire(role: u8) -> wire::ClientRole {
    match role {
        0 => wire::ClientRole::Read,
        1 => wire::ClientRole::Write,
        _ => wire::ClientRole::Admin,
    }
}
