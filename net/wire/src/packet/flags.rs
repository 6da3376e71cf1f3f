//! Bits of a header that say yes or no.

/// Makes the type of a kind of packet's flags. Those that are not named are dropped when they are read.
macro_rules! flags {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag_doc:meta])* $flag:ident = $bit:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name(u8);

        impl $name {
            /// None of them.
            pub const NONE: Self = Self(0);
            $($(#[$flag_doc])* pub const $flag: Self = Self($bit);)+

            const KNOWN: u8 = 0 $(| $bit)+;

            /// The flags of these bits; those that version 1 does not assign are dropped.
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits & Self::KNOWN)
            }

            /// The bits, as in the packet.
            pub const fn bits(self) -> u8 {
                self.0
            }

            /// Whether all of `other` are set.
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Both sets together.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }
    };
}

pub(super) use flags;
