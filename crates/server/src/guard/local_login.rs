//! Root on the board needs no token: over the node's own socket it is given a certificate for the day.

use std::sync::Arc;

use proto::v1::{self as wire, Reason};
use replica::state;
use tonic::Status;
use trust::{Grant, Role, Subject, UnixSecs, Who};

use super::{admission, cluster_time};
use crate::{
    node::Node,
    services::failure::{rejected, unreadable},
};

const LIFE_S: u64 = 86_400;

pub async fn local_login(node: &Arc<Node>, csr: &[u8]) -> Result<wire::AdmitResponse, Status> {
    if state::is_removed(&*node.state.get(), node.id).map_err(|error| unreadable(&error))? {
        return Err(rejected(Reason::Removed, "this board was removed from its cluster; wipe its data directory, then it can join anew"));
    }
    let signer = admission::signer(node)?;
    let grant = Grant { role: Role::Admin, prefix: Vec::new() };
    let subject = Subject { cluster_id: signer.cluster_id, who: Who::Client { id: admission::random_id()?, grant } };
    // Longer than a day on the cluster's slow clock does no harm: the key is never written down.
    let certificate = signer.sign(csr, &subject, UnixSecs(cluster_time::now(node)), LIFE_S)?;
    Ok(admission::response(node, &signer, certificate))
}
