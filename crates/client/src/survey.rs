//! Asking every node for its own view, those that the others know of included.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use discovery::Peer;
use proto::v1::StatusResponse;
use tokio::task::JoinSet;

use crate::pool::{Miss, Pool};

/// What the nodes said, and who said nothing. Taken without a quorum: each node answers for itself.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// One answer a node, with the address that answered.
    pub answers: Vec<(Peer, StatusResponse)>,
    pub silent: Vec<(Peer, Miss)>,
}

impl Survey {
    /// Asks all known addresses at once, then those that the answers name; each of the two takes at most half of `time`.
    pub async fn take(pool: &Arc<Pool>, time: Duration) -> Survey {
        let mut survey = Survey::default();
        let first = pool.candidates();
        survey.ask(pool, &first, time / 2).await;
        let known: BTreeSet<u64> = survey.answers.iter().map(|(_, status)| status.node_id).collect();
        let members = survey.answers.iter().flat_map(|(_, status)| &status.members);
        let addresses = members.filter(|member| !known.contains(&member.node_id)).flat_map(|member| &member.addresses);
        let further: BTreeSet<Peer> = addresses.filter_map(|address| address.parse().ok()).filter(|peer| !first.contains(peer)).collect();
        survey.ask(pool, &Vec::from_iter(further), time / 2).await;
        survey
    }

    /// Why the node at one of these addresses has not answered.
    pub fn why_silent(&self, addresses: &[String]) -> Option<&Miss> {
        let silent = |address: &String| self.silent.iter().find(|(peer, _)| peer.to_string() == *address).map(|(_, miss)| miss);
        addresses.iter().find_map(silent)
    }

    async fn ask(&mut self, pool: &Arc<Pool>, peers: &[Peer], time: Duration) {
        let mut asking = JoinSet::new();
        for peer in peers.iter().cloned() {
            let pool = pool.clone();
            asking.spawn(async move {
                let answer = tokio::time::timeout(time, status(&pool, &peer, time)).await;
                (peer, answer.unwrap_or_else(|_| Err(Miss::Unreachable("no answer".into()))))
            });
        }
        while let Some(joined) = asking.join_next().await {
            match joined.expect("asking a node does not panic") {
                (peer, Ok(status)) if self.answers.iter().all(|(_, known)| known.node_id != status.node_id) => {
                    self.answers.push((peer, status))
                }
                (_, Ok(_)) => {}
                (peer, Err(miss)) => self.silent.push((peer, miss)),
            }
        }
        self.answers.sort_by_key(|(_, status)| status.node_id);
        self.silent.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
}

async fn status(pool: &Pool, peer: &Peer, bound: Duration) -> Result<StatusResponse, Miss> {
    let node = pool.dial(peer, 0).await?;
    match node.status(bound).await {
        Ok(status) => Ok(status),
        Err(fault) => {
            pool.forget(&node).await;
            Err(Miss::Unreachable(fault.message))
        }
    }
}
