//! The node's own certificate, kept young.
//!
//! Every member's state holds the authority, so a member signs for itself: no other node has to be up. A new certificate is made at two thirds of the
//! life of the old one, and at once when another authority is to be shown, or the set of those trusted changed. A learner that has yet to
//! catch up does it then.

use std::{sync::Arc, time::Duration};

use replica::state;
use tokio::{task::spawn_blocking, time::interval};
use trust::{KeyPair, Subject, UnixSecs, Who};

use super::{NODE_LIFE_S, Papers, admission, answer, cluster_time};
use crate::node::Node;

/// A change from one authority to the next waits for every node.
const LOOK_PERIOD_S: u64 = 1;

/// Runs as long as the node.
pub async fn keep_renewed(node: Arc<Node>) {
    let mut look = interval(Duration::from_secs(LOOK_PERIOD_S));
    loop {
        look.tick().await;
        let Some(secured) = node.guard.current() else { continue };
        let papers = &secured.papers;
        let Ok(Some(trust)) = state::trust(&*node.state.get()) else { continue };
        let trusted: Vec<_> = trust.authorities.iter().map(|authority| authority.cert.clone()).collect();
        let old = papers.credentials.renew_at().is_ok_and(|at| at <= UnixSecs(cluster_time::now(&node)));
        let as_is_wanted = trusted == papers.credentials.authorities && secured.signer == trust.shown;
        if papers.founding.is_some() || as_is_wanted && !old {
            continue;
        }
        match renewed(&node) {
            Ok(papers) => {
                let guard_of = node.clone();
                match spawn_blocking(move || guard_of.guard.install(papers)).await {
                    Ok(Ok(())) => log::info!("renewed this node's certificate"),
                    Ok(Err(error)) => log::error!(error:%; "could not store a renewed certificate"),
                    Err(_) => return,
                }
            }
            Err(reason) => log::warn!(reason = reason.as_str(); "could not renew this node's certificate"),
        }
    }
}

fn renewed(node: &Arc<Node>) -> Result<Papers, String> {
    let signer = admission::signer(node).map_err(|status| status.message().to_owned())?;
    let key = KeyPair::make().map_err(|error| error.to_string())?;
    let csr = key.csr().map_err(|error| error.to_string())?;
    let subject = Subject { cluster_id: signer.cluster_id, who: Who::Node(node.id.0) };
    let now = cluster_time::now(node);
    let leaf = signer.sign(&csr, &subject, UnixSecs(now), NODE_LIFE_S).map_err(|status| status.message().to_owned())?;
    let formed_id = node.member().map(|member| member.cluster_id).unwrap_or(signer.cluster_id);
    answer::papers(admission::certificate(node, &signer, leaf), &key, formed_id).map_err(|error| error.to_string())
}
