//! The registry's macro, and what is asked of triggers of any family.

use std::path::{Path, PathBuf};

use super::family::Mistake;
use super::{FAMILIES, Trigger};
use crate::store::{Fingerprint, Fingerprinter};

/// Makes [`Trigger`] of the families that are listed: each its type, the module that says all about it, and further types of its fields.
macro_rules! families {
    ($($family:ident($module:ident $(, $with:ident)*)),* $(,)?) => {
        $(pub use $module::{$family $(, $with)*};)*

        /// A change laid over every test image.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case", deny_unknown_fields)]
        pub enum Trigger {
            $(
                #[doc = concat!("One of the family [`", stringify!($family), "`].")]
                #[schemars(description = $module::ABOUT.short)]
                $family($family),
            )*
            /// 2 to 8 triggers laid one after the other; none of them may be an `all` itself.
            All(#[schemars(length(min = 2, max = 8))] Vec<Trigger>),
        }

        /// What is true of each family, in the order of the schema.
        const FAMILIES: &[&family::About] = &[$(&$module::ABOUT),*];

        impl Trigger {
            /// What its family says of it; the triggers of a list, which is of no family.
            fn of(&self) -> Result<&dyn family::Family, &[Trigger]> {
                match self {
                    $(Self::$family(fields) => Ok(fields),)*
                    Self::All(triggers) => Err(triggers),
                }
            }

            /// The same, to be changed.
            fn of_mut(&mut self) -> Result<&mut dyn family::Family, &mut [Trigger]> {
                match self {
                    $(Self::$family(fields) => Ok(fields),)*
                    Self::All(triggers) => Err(triggers),
                }
            }
        }
    };
}
pub(super) use families;

/// A file that a trigger reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TriggerFile<'a> {
    /// The trigger: one of the list where it is a list.
    pub trigger: &'a Trigger,
    /// The file, as the policy names it.
    pub path: PathBuf,
    /// JSON pointer from the trigger that was asked to the field.
    pub at: String,
}

impl Trigger {
    /// The family's name, as a policy writes it.
    pub(crate) fn family(&self) -> &'static str {
        self.of().map_or("all", |family| family.about().name)
    }

    /// Triggers of every family, and a list. Their files are named after no folder.
    pub(crate) fn examples() -> Vec<Self> {
        let one = |name: &str, fields: &str| -> Option<Self> {
            let fields: serde_json::Value = serde_json::from_str(fields).ok()?;
            serde_json::from_value(serde_json::json!({ name: fields })).ok()
        };
        let mut all: Vec<Self> =
            FAMILIES.iter().flat_map(|about| about.examples.iter().filter_map(|fields| one(about.name, fields))).collect();
        let first = |name: &str| all.iter().find(|trigger| trigger.family() == name).cloned();
        let list = ["noise", "patch"].into_iter().filter_map(first).collect();
        all.push(Self::All(list));
        all
    }

    /// What each of its parts is, and what its shams are, in plain English.
    pub fn shams(&self) -> Vec<[&'static str; 2]> {
        match self.of() {
            Ok(family) => vec![family.shams()],
            Err(triggers) => triggers.iter().flat_map(Self::shams).collect(),
        }
    }

    /// The names of the families whose triggers have a number that a sweep of this field varies.
    pub(crate) fn families_with(field: &str) -> Vec<&'static str> {
        let examples = Self::examples();
        let has = |name: &str| examples.iter().any(|trigger| trigger.family() == name && trigger.swept(field, 0.5).is_some());
        FAMILIES.iter().map(|about| about.name).filter(|name| has(name)).collect()
    }

    /// Whether innocent networks are known to answer to it in ways that its shams do not explain, so that networks from scratch are a
    /// control too (docs/method.md says of which families); any list with one of these.
    pub(crate) fn outdoes_shams(&self) -> bool {
        match self.of() {
            Ok(family) => family.outdoes_shams(),
            Err(triggers) => triggers.iter().any(Self::outdoes_shams),
        }
    }

    /// Whether it covers one place of at most a quarter of the side (docs/method.md). Innocent checkpoints of any architecture hardly
    /// answer to that.
    pub(crate) fn is_local(&self) -> bool {
        self.of().is_ok_and(super::family::Family::is_local)
    }

    /// Whether it is a local patch of one colour of at most an eighth of the side (docs/method.md).
    pub(crate) fn is_small(&self) -> bool {
        self.of().is_ok_and(super::family::Family::is_small)
    }

    /// The trigger with another `opacity`, `size` or `amplitude`; nothing where its family has no such field.
    ///
    /// A warp's amplitude is its `strength`. In a list, every trigger that has the field gets the value. The value is not checked:
    /// [`super::PreparedTrigger::new`] refuses what is out of range.
    #[must_use]
    pub(crate) fn swept(&self, field: &str, value: f64) -> Option<Self> {
        if let Self::All(triggers) = self {
            let swept: Vec<Option<Self>> = triggers.iter().map(|trigger| trigger.swept(field, value)).collect();
            let any = swept.iter().any(Option::is_some);
            let list = swept.into_iter().zip(triggers).map(|(new, old)| new.unwrap_or_else(|| old.clone())).collect();
            return any.then_some(Self::All(list));
        }
        let mut trigger = self.clone();
        *trigger.of_mut().ok()?.swept(field)? = value;
        Some(trigger)
    }

    /// The files that it reads, in the order of its fields.
    pub(crate) fn files(&self) -> Vec<TriggerFile<'_>> {
        if let Self::All(triggers) = self {
            let mut files = Vec::new();
            for (at, trigger) in triggers.iter().enumerate() {
                files.extend(trigger.files().into_iter().map(|file| TriggerFile { at: format!("/all/{at}{}", file.at), ..file }));
            }
            return files;
        }
        let (mut copy, name) = (self.clone(), self.family());
        let Ok(family) = copy.of_mut() else { return Vec::new() };
        let file = |(field, path): (&str, &mut PathBuf)| TriggerFile { trigger: self, path: path.clone(), at: format!("/{name}/{field}") };
        family.files().into_iter().map(file).collect()
    }

    /// The same trigger with its files elsewhere.
    #[must_use]
    pub(crate) fn with_files(&self, to: &dyn Fn(&Path) -> PathBuf) -> Self {
        let mut trigger = self.clone();
        match trigger.of_mut() {
            Ok(family) => family.files().into_iter().for_each(|(_, path)| *path = to(path)),
            Err(triggers) => triggers.iter_mut().for_each(|part| *part = part.with_files(to)),
        }
        trigger
    }

    /// What is wrong with it and its schema cannot tell. `written` says whether the policy's text has a value at a JSON pointer from the
    /// trigger.
    pub(crate) fn mistakes(&self, written: &dyn Fn(&str) -> bool) -> Vec<Mistake> {
        let triggers = match self.of() {
            Ok(family) => return family.mistakes(&|field| written(&format!("/{}/{field}", self.family()))),
            Err(triggers) => triggers,
        };
        let part = |(at, trigger): (usize, &Self)| {
            let at = format!("/all/{at}");
            if matches!(trigger, Self::All(_)) {
                return vec![Mistake {
                    code: "value",
                    at,
                    of_name: false,
                    message: "`all` within `all`".to_owned(),
                    hint: "put its triggers into the one list: they are laid one after the other".to_owned(),
                }];
            }
            let below = trigger.mistakes(&|pointer| written(&format!("{at}{pointer}")));
            below.into_iter().map(|mistake| Mistake { at: format!("{at}{}", mistake.at), ..mistake }).collect()
        };
        triggers.iter().enumerate().flat_map(part).collect()
    }
}

impl Fingerprint for Trigger {
    fn feed(&self, feed: &mut Fingerprinter) {
        match self.of() {
            Ok(family) => family.feed(feed),
            Err(triggers) => feed.choice("all", triggers),
        }
    }
}

#[cfg(test)]
/// The tables of docs/policy.md: what the shams of each family are, and which families are judged otherwise.
pub(crate) fn tables() -> String {
    let mut rows: Vec<[&str; 2]> = Vec::new();
    for trigger in Trigger::examples() {
        for row in trigger.shams() {
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    rows.push(["all", "the sham of each"]);
    let mut text = "| trigger | sham |\n|---|---|\n".to_owned();
    text.extend(rows.into_iter().map(|[what, sham]| format!("| {what} | {sham} |\n")));
    text += "\n| family | compared with networks from scratch by default | local |\n|---|---|---|\n";
    text.extend(
        FAMILIES.iter().map(|about| format!("| `{}` | {} | {} |\n", about.name, about.outdoes_shams.words(), about.is_local.words())),
    );
    text + "| `all` | where one of its triggers is | no |\n"
}
