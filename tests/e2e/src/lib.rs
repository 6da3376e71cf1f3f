//! End-to-end tests on the built bundle
