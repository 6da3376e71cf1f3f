//! Libraries of the system that are looked for when they are needed, and need not be there.

/// A table of a library's functions, by their names in it. The types have to be those of its header.
macro_rules! foreign {
    (
        $(#[$doc:meta])*
        struct $Table:ident from $library:literal, remedy $remedy:literal {
            $($field:ident = $symbol:literal: $type:ty,)*
        }
    ) => {
        $(#[$doc])*
        struct $Table {
            $($field: $type,)*
        }

        impl $Table {
            /// The library's functions: it is loaded once, and stays, for it may have threads of its own.
            fn get() -> Result<&'static Self, String> {
                static TABLE: std::sync::OnceLock<Result<$Table, String>> = std::sync::OnceLock::new();
                TABLE.get_or_init(Self::load).as_ref().map_err(Clone::clone)
            }

            fn load() -> Result<Self, String> {
                let missing = |error: libloading::Error| {
                    tracing::debug!(target: "audiocloud::bridge", %error, "no {}", $library);
                    format!("{} is not installed ({})", $library, $remedy)
                };
                // SAFETY: the system's own library, whose initialisers every program that links it runs.
                let library = unsafe { libloading::Library::new($library) }.map_err(missing)?;
                let table = Self {
                    $($field: {
                        // SAFETY: the type is the one that the library's header declares under this name.
                        let found = unsafe { library.get::<$type>($symbol.as_bytes()) };
                        *found.map_err(missing)?
                    },)*
                };
                std::mem::forget(library);
                Ok(table)
            }
        }
    };
}

pub(super) use foreign;
