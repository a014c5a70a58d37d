//! Arbitrary bytes, read as a run of choices. At their end every choice is 0, so any bytes are a script.

pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script { rest: bytes }
    }

    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn below(&mut self, end: u64) -> u64 {
        u64::from(self.byte()) % end
    }

    /// A number close to one that matters, or one of those at which arithmetic ends.
    pub fn near(&mut self, number: u64) -> u64 {
        match self.byte() {
            step @ 0..=127 => number.wrapping_add(u64::from(step % 16)),
            step @ 128..=223 => number.wrapping_sub(u64::from(step % 16)),
            224..=231 => 0,
            232..=239 => u64::MAX,
            240..=247 => 1 << 62,
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// So many bytes as the next byte says, or what is left.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        let (piece, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        piece
    }

    /// Like [`piece`](Script::piece), for longer ones: two bytes say how long.
    pub fn long_piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()) | usize::from(self.byte()) << 8;
        let (piece, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        piece
    }

    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}
