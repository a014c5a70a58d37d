//! Nobody says more than is on its own disk: no term, no vote, no entry.

use raft::{Envelope, HardState, Index, Message, NodeId, Term};

use super::{Property, Verdict};
use crate::run::LogModel;

/// What was acknowledged in a term is not given up in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acked {
    term: Term,
    durable: Index,
}

impl Acked {
    pub fn says(&mut self, envelope: &Envelope) {
        if let Message::Accepted { durable, .. } = &envelope.message {
            let before = if self.term == envelope.term { self.durable } else { 0 };
            *self = Acked { term: envelope.term, durable: before.max(*durable) };
        }
    }

    pub fn truncates(&self, id: NodeId, term: Term, from: Index) -> Verdict {
        let given_up = self.term == term && from <= self.durable;
        Property::AckedIsDurable.holds(!given_up, || format!("{id:?} removes {from} and all behind it, having acknowledged {self:?}"))
    }
}

/// `view` is the log as the sender's process sees it, `disk` what a power cut would leave.
pub fn acked_is_durable(envelope: &Envelope, view: &LogModel, disk: &LogModel) -> Verdict {
    let (me, term, hard) = (envelope.from, envelope.term, disk.hard);
    let voted_for = |id| hard.term > term || hard == HardState { term, vote: Some(id) };
    let said = match &envelope.message {
        Message::VoteReply { granted: true } => voted_for(envelope.to),
        Message::Vote { .. } => voted_for(me),
        Message::Accepted { durable, .. } => match view.term_at(*durable) {
            Some(term) => disk.covers(raft::LogId::new(term, *durable)),
            None => *durable <= view.mark.index && *durable <= disk.last().index,
        },
        _ => true,
    };
    Property::AckedIsDurable.holds(said && hard.term >= term, || {
        format!("{me:?} says {:?} in {term:?}, but its disk ends at {} with {hard:?}", envelope.message, disk.last())
    })
}
