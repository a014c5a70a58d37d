//! What one key does: it holds a value or none.

use crate::history::Action;

pub type State = Option<u64>;

/// The state after `action`, or `None` if its answer is impossible in `state`.
pub fn apply(state: State, action: Action) -> Option<State> {
    match action {
        Action::Write { value } => Some(Some(value)),
        Action::Delete { existed } => existed.is_none_or(|existed| existed == state.is_some()).then_some(None),
        Action::Read { found } => (found == state).then_some(state),
    }
}
