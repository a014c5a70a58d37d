//! Changes of the membership and of the lead, asked for while the cluster has other worries; nobody waits for their end.
//!
//! There is one node more than voters. It is taken in as a learner, put in a voter's place, and the one that had to go comes back as a new node
//! once its board is wiped, which is the caller's business: an id never comes back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Change, Client};
use proto::v1::{LearnerIntent, MemberKind, StatusResponse};
use tokio::task::JoinSet;

use crate::cluster::Cluster;

const TIMEOUT_S: u64 = 10;

/// What was asked for and taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub added: usize,
    pub replaced: usize,
    pub handed_over: usize,
}

pub struct Council {
    client: Client,
    asked: JoinSet<Taken>,
    taken: Taken,
    turns: usize,
    /// Why the last change that was not taken was not.
    refused: Arc<Mutex<String>>,
}

impl Council {
    pub async fn of(cluster: &Cluster) -> Council {
        let client = cluster.client(Duration::from_secs(TIMEOUT_S)).await;
        Council { client, asked: JoinSet::new(), taken: Taken::default(), turns: 0, refused: Arc::default() }
    }

    /// Asks for the next change, if none is under way, and every second time for another leader.
    pub fn propose(&mut self, cluster: &Cluster, statuses: &[Option<StatusResponse>], leader: &StatusResponse) {
        self.turns += 1;
        while let Some(taken) = self.asked.try_join_next() {
            self.taken.count(taken.expect("asking does not panic"));
        }
        if self.turns.is_multiple_of(2) {
            let client = self.client.clone();
            self.asked.spawn(async move {
                let handed_over = usize::from(client.transfer_leader(None).await.is_ok());
                Taken { handed_over, ..Taken::default() }
            });
        }
        if is_changing(leader) {
            return;
        }
        let learner = leader.members.iter().find(|member| member.kind() == MemberKind::Learner);
        let voters: Vec<u64> = leader.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect();
        match learner {
            // Leaders have to go like others.
            Some(learner) => {
                let old_id = voters[self.turns % voters.len()];
                self.ask(Change::Replace { old_id, new_id: learner.node_id, address: None });
            }
            None => self.take_in(cluster, statuses),
        }
    }

    /// Asks for a node that is outside to become a learner.
    pub fn take_in(&mut self, cluster: &Cluster, statuses: &[Option<StatusResponse>]) {
        let outside = statuses.iter().zip(&cluster.nodes).find_map(|(status, node)| {
            let status = status.as_ref().filter(|status| status.cluster_id.is_empty())?;
            Some((status.node_id, node.address()))
        });
        if let Some((node_id, address)) = outside {
            self.ask(Change::Add { node_id, as_voter: false, address: Some(address) });
        }
    }

    fn ask(&mut self, change: Change) {
        let (client, refused) = (self.client.clone(), self.refused.clone());
        self.asked.spawn(async move {
            // A quorum may be missing, or somebody was quicker; the membership tells, and it is asked for again.
            let answer = client.change_member(&change).await;
            if let Err(error) = &answer {
                *refused.lock().expect("no change panics") = format!("{change:?}: {error}");
            }
            let taken = usize::from(answer.is_ok());
            match change {
                Change::Replace { .. } => Taken { replaced: taken, ..Taken::default() },
                _ => Taken { added: taken, ..Taken::default() },
            }
        });
    }

    pub fn last_refusal(&self) -> String {
        self.refused.lock().expect("no change panics").clone()
    }

    /// Waits for what was asked for.
    pub async fn adjourn(&mut self) -> Taken {
        while let Some(taken) = self.asked.join_next().await {
            self.taken.count(taken.expect("asking does not panic"));
        }
        self.taken
    }
}

impl Taken {
    fn count(&mut self, more: Taken) {
        self.added += more.added;
        self.replaced += more.replaced;
        self.handed_over += more.handed_over;
    }
}

/// Whether voters are being changed, or will be by themselves.
pub fn is_changing(leader: &StatusResponse) -> bool {
    let on_its_way = |intent| matches!(intent, LearnerIntent::Promote | LearnerIntent::Replace);
    !leader.membership_change.is_empty() || leader.members.iter().any(|member| member.outgoing_voter || on_its_way(member.intent()))
}
