//! Audio set against time: the sender's tap and the receiver's playout
