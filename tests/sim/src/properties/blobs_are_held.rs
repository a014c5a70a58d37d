//! When a manifest is committed a quorum holds its blob, and none of them gives it up while the key refers to it. (A leader that leads no more may
//! put a manifest into its log whose blob was collected since; nothing comes of that.)

use std::collections::BTreeMap;

use raft::{Index, LogId, Membership, NodeId};

use super::{Property, Verdict};

pub type Hash = [u8; 32];

#[derive(Debug, Default)]
pub struct BlobsAreHeld;

impl BlobsAreHeld {
    /// A manifest is committed. `membership`: in force when it was put into the log. `held`: on whose disks the blob is.
    pub fn committed(entry: LogId, membership: &Membership, held: impl Fn(NodeId) -> bool) -> Verdict {
        let enough = membership.has_quorum(held);
        Property::BlobsAreHeld.holds(enough, || format!("the manifest at {entry} names a blob that no quorum of {membership:?} holds"))
    }

    /// A joint phase, begun at `joint`, is to end. `whole`: up to where a member has ever had every blob.
    pub fn joint_ends(joint: Index, next: &Membership, whole: impl Fn(NodeId) -> Index) -> Verdict {
        let enough = next.voters.iter().filter(|id| whole(**id) >= joint).count() * 2 > next.voters.len();
        Property::BlobsAreHeld.holds(enough, || format!("the joint phase of {joint} ends although the new voters lack blobs: {next:?}"))
    }

    /// Every blob that is referred to is on some disk that has not gone bad.
    pub fn recount(live: &BTreeMap<Hash, String>, somewhere: impl Fn(&Hash) -> bool) -> Verdict {
        let lost = live.iter().find(|(hash, _)| !somewhere(hash));
        Property::BlobsAreHeld.holds(lost.is_none(), || format!("nobody holds the blob of {lost:?} any more"))
    }
}
