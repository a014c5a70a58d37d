//! The change from one authority to the next, without a moment in which somebody is locked out.
//!
//! 1. *Begin*: a new authority is trusted beside the old one. Nodes still show certificates of the old one, so that who has not heard of the new one
//!    believes them; clients are given certificates of the new one.
//! 2. *Show*: nodes show certificates of the new one, as soon as each has heard. Both are still trusted, so it does not matter who hears first.
//! 3. *Drop*: the old one is trusted no more, nor what it signed.
//!
//! Whoever asks for a step looks first whether every node has taken the one before: a node that slept through two of them could not prove
//! itself to the others any more. That is seen from outside, in each node's own status; the log only keeps the order of the steps.

use std::sync::Arc;

use proto::v1::{self as wire, Reason, RotationStep};
use replica::state::{self, AuthorityRecord, TrustChange, TrustOutcome};
use tonic::Status;
use trust::{Authority, UnixSecs};

use super::{admission, cluster_time, tokens};
use crate::{
    node::Node,
    services::{
        failure::{not_executed, rejected, unreadable},
        requests::read_barrier,
    },
};

/// Takes one step, unless it is taken already.
pub async fn rotate(node: &Arc<Node>, step: RotationStep) -> Result<wire::RotateAuthorityResponse, Status> {
    let trust = read(node).await?;
    let change = match (step, &trust.authorities[..]) {
        (RotationStep::Unspecified, _) => None,
        (RotationStep::Begin, [_]) => Some(TrustChange::AddAuthority(new_authority(node)?)),
        (RotationStep::Begin, _) => None,
        (RotationStep::Show, _) => (trust.shown != trust.authorities[0].hash).then_some(TrustChange::ShowNewest),
        (RotationStep::Drop, [newest, old]) if trust.shown == newest.hash => Some(TrustChange::DropAuthority { hash: old.hash }),
        (RotationStep::Drop, [_, _]) => {
            return Err(rejected(Reason::Malformed, "the nodes still show certificates of the old authority; show the new one first"));
        }
        (RotationStep::Drop, _) => None,
    };
    let Some(change) = change else { return Ok(response(&trust, false)) };
    let changed = tokens::change(node, change).await? == TrustOutcome::Changed;
    let trust = read(node).await?;
    if changed {
        log::info!(step = step.as_str_name(), trusted = trust.authorities.len(); "the authority is being changed");
    }
    Ok(response(&trust, changed))
}

async fn read(node: &Arc<Node>) -> Result<state::Trust, Status> {
    read_barrier(node).await?;
    state::trust(&*node.state.get()).map_err(|error| unreadable(&error))?.ok_or_else(tokens::no_authority)
}

fn new_authority(node: &Arc<Node>) -> Result<AuthorityRecord, Status> {
    let cluster_id = admission::signer(node)?.cluster_id;
    let authority = Authority::make(cluster_id, node.config.cluster_name.as_str(), UnixSecs(cluster_time::now(node)))
        .map_err(|error| not_executed(Reason::Stopping, error.to_string()))?;
    Ok(AuthorityRecord { hash: authority.hash(), cert: authority.cert_der().to_vec(), key: authority.key_der().to_vec() })
}

fn response(trust: &state::Trust, changed: bool) -> wire::RotateAuthorityResponse {
    let authorities = trust.authorities.iter().map(|authority| authority.hash.to_vec().into()).collect();
    wire::RotateAuthorityResponse { changed, authorities, shown: trust.shown.to_vec().into() }
}
