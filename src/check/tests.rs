//! Rules on bundles made for them.
