//! A command as the log keeps it.

use replica::Command;

/// What can be decoded means the same after another round.
pub fn command(bytes: &[u8]) {
    let Ok(command) = Command::decode(bytes) else { return };
    let again = command.encode();
    assert_eq!(Command::decode(&again), Ok(command.clone()), "a command is another one after a round");
    assert_eq!(command.owned().encode(), again, "a copy is another command");
}
