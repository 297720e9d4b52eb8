//! The stable codes of configuration problems (layer 2). Each is explained in `docs/errors.md`; a test compares both lists.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $code;)+

        /// Every code of a configuration problem.
        pub const ALL: &[&str] = &[$($code),+];
    };
}

codes! {
    /// A file cannot be read.
    UNREADABLE = "config.unreadable";
    /// The text is not JSON.
    SYNTAX = "config.syntax";
    /// A key stands twice in one object.
    DUPLICATE_KEY = "config.duplicate_key";
    /// A key that does not exist there.
    UNKNOWN_KEY = "config.unknown_key";
    /// A value of another JSON type.
    WRONG_TYPE = "config.wrong_type";
    /// A value that is not allowed.
    INVALID_VALUE = "config.invalid_value";
    /// A key that has to be there.
    MISSING_KEY = "config.missing_key";
    /// A key that has no meaning beside the others.
    MISPLACED_KEY = "config.misplaced_key";
    /// An environment variable that is not set.
    MISSING_VARIABLE = "config.missing_variable";
    /// A `${` that is not closed or names nothing.
    BAD_VARIABLE = "config.bad_variable";
    /// A secret that is written in the file.
    LITERAL_SECRET = "config.literal_secret";
    /// A type of system that does not exist.
    UNKNOWN_SYSTEM_TYPE = "config.unknown_system_type";
    /// A type of system that this version cannot open.
    NOT_AVAILABLE = "config.not_available";
    /// A name of a system that the configuration does not have.
    UNKNOWN_SYSTEM = "config.unknown_system";
    /// An object of a connected system that is not listed.
    UNKNOWN_OBJECT = "config.unknown_object";
    /// An object without a mapping.
    UNMAPPED_OBJECT = "config.unmapped_object";
    /// A field that no mapping carries.
    UNMAPPED_FIELD = "config.unmapped_field";
    /// Two keys that say different things.
    CONTRADICTION = "config.contradiction";
    /// Two mappings that write the same field.
    DUPLICATE_MAPPING = "config.duplicate_mapping";
    /// A mapping that the field selection leaves out.
    DROPPED_MAPPING = "config.dropped_mapping";
    /// Polling without a column to go by.
    MISSING_UPDATED_AT = "config.missing_updated_at";
    /// A lookup through a pair that the configuration does not have.
    UNKNOWN_PAIR = "config.unknown_pair";
    /// A lookup through a pair of other systems.
    OTHER_SYSTEMS = "config.other_systems";
    /// Two pairs of one name.
    DUPLICATE_PAIR = "config.duplicate_pair";
    /// A name that cannot be used.
    BAD_NAME = "config.bad_name";
    /// No sync at all.
    NO_SYNC = "config.no_sync";
    /// Two files that set the service differently.
    SETTING_DIFFERS = "config.setting_differs";
    /// An address that others can reach, without a token.
    TOKEN_REQUIRED = "config.token_required";
    /// A state store of a kind that this version does not have.
    UNSUPPORTED_STATE = "config.unsupported_state";
    /// An `include` that names no file.
    EMPTY_INCLUDE = "config.empty_include";
    /// A key that has no effect yet.
    NO_EFFECT = "config.no_effect";
}
