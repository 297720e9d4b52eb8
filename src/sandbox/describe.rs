//! What objects and fields there are, and how `describe` tells them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Places of the fields that every object begins with.
pub(super) const ID: usize = 0;
pub(super) const IS_DELETED: usize = 1;
pub(super) const CREATED_DATE: usize = 2;
pub(super) const CREATED_BY: usize = 3;
pub(super) const LAST_MODIFIED_DATE: usize = 4;
pub(super) const LAST_MODIFIED_BY: usize = 5;
pub(super) const SYSTEM_MODSTAMP: usize = 6;

/// The type of a field, as `describe` names it in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Id,
    String,
    Textarea,
    Picklist,
    Multipicklist,
    Reference,
    Boolean,
    Int,
    Double,
    Currency,
    Date,
    Datetime,
    Email,
    Phone,
    Url,
    Address,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::String => "string",
            Self::Textarea => "textarea",
            Self::Picklist => "picklist",
            Self::Multipicklist => "multipicklist",
            Self::Reference => "reference",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::Currency => "currency",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Url => "url",
            Self::Address => "address",
        }
    }

    fn soap(self) -> &'static str {
        match self {
            Self::Id | Self::Reference => "tns:ID",
            Self::Boolean => "xsd:boolean",
            Self::Int => "xsd:int",
            Self::Double | Self::Currency => "xsd:double",
            Self::Date => "xsd:date",
            Self::Datetime => "xsd:dateTime",
            Self::Address => "urn:address",
            Self::String
            | Self::Textarea
            | Self::Picklist
            | Self::Multipicklist
            | Self::Email
            | Self::Phone
            | Self::Url => "xsd:string",
        }
    }

    /// Whether its values are numbers.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Currency)
    }
}

/// One field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) kind: Kind,
    /// Characters, of what is text.
    pub(super) length: usize,
    /// Digits before and after the point, of what is a number.
    pub(super) digits: (usize, usize),
    pub(super) required: bool,
    pub(super) createable: bool,
    pub(super) updateable: bool,
    pub(super) external_id: bool,
    pub(super) unique: bool,
    pub(super) restricted: bool,
    pub(super) picklist: Vec<String>,
    /// The object it refers to, and what the relationship is called.
    pub(super) reference: Option<(String, String)>,
    /// The compound field that it is a part of.
    pub(super) compound: Option<String>,
    /// Field-level security keeps it from the API's user.
    pub(super) hidden: bool,
}

impl Field {
    /// A field that may be written and left empty.
    pub(super) fn new(name: &str, kind: Kind, length: usize) -> Self {
        Self {
            name: name.to_owned(),
            label: label(name),
            kind,
            length,
            digits: (0, 0),
            required: false,
            createable: true,
            updateable: true,
            external_id: false,
            unique: false,
            restricted: false,
            picklist: Vec::new(),
            reference: None,
            compound: None,
            hidden: false,
        }
    }

    pub(super) fn read_only(mut self) -> Self {
        (self.createable, self.updateable) = (false, false);
        self
    }

    pub(super) fn refers_to(mut self, object: &str, relationship: &str) -> Self {
        self.reference = Some((object.to_owned(), relationship.to_owned()));
        self
    }

    pub(super) fn custom(&self) -> bool {
        self.name.ends_with("__c")
    }

    /// Whether records can be addressed by it.
    pub(super) fn is_key(&self) -> bool {
        self.external_id || self.unique
    }

    /// Whether it may stand in WHERE and ORDER BY: long text and compound fields may not.
    pub(super) fn filterable(&self) -> bool {
        self.kind != Kind::Address && (self.kind != Kind::Textarea || self.length <= 255)
    }

    fn describe(&self) -> Value {
        let picklist: Vec<Value> = self
            .picklist
            .iter()
            .map(|value| json!({"active": true, "defaultValue": false, "label": value, "validFor": null, "value": value}))
            .collect();
        let text = !self.kind.is_number() && self.kind != Kind::Boolean;
        let (whole, scale) = self.digits;
        let mut described = json!({
            "name": self.name, "label": self.label, "type": self.kind.name(), "soapType": self.kind.soap(),
            "length": if text { self.length } else { 0 }, "byteLength": if text { self.length * 3 } else { 0 },
            "precision": if self.kind == Kind::Int { 0 } else { whole + scale }, "scale": scale,
            "digits": if self.kind == Kind::Int { whole } else { 0 },
            "nillable": !self.required && self.kind != Kind::Boolean && self.kind != Kind::Id,
            "createable": self.createable, "updateable": self.updateable, "custom": self.custom(),
            "externalId": self.external_id, "unique": self.unique, "caseSensitive": false,
            "restrictedPicklist": self.restricted, "picklistValues": picklist,
            "filterable": self.filterable(), "sortable": self.filterable(), "groupable": self.filterable(),
        });
        let more = json!({
            "idLookup": self.external_id || self.kind == Kind::Id || self.kind == Kind::Email,
            "defaultedOnCreate": self.name == "OwnerId" || self.kind == Kind::Boolean || !self.createable,
            "referenceTo": self.reference.iter().map(|(object, _)| object).collect::<Vec<_>>(),
            "relationshipName": self.reference.as_ref().map(|(_, relationship)| relationship),
            "compoundFieldName": self.compound, "autoNumber": false, "calculated": false, "calculatedFormula": null,
            "encrypted": false, "htmlFormatted": false, "nameField": self.name == "Name", "namePointing": false,
            "dependentPicklist": false, "controllerName": null, "deprecatedAndHidden": false, "permissionable": !self.required,
            "cascadeDelete": false, "defaultValue": null, "defaultValueFormula": null, "extraTypeInfo": null,
            "highScaleNumber": false, "inlineHelpText": null, "polymorphicForeignKey": false, "queryByDistance": false,
            "writeRequiresMasterRead": false, "searchPrefilterable": false, "mask": null, "maskType": null,
        });
        if let (Some(described), Value::Object(more)) = (described.as_object_mut(), more) {
            described.extend(more);
        }
        described
    }
}

/// `BillingStreet` is shown as `Billing Street`, `Tier__c` as `Tier`.
fn label(name: &str) -> String {
    let name = name.strip_suffix("__c").unwrap_or(name);
    let mut label = String::new();
    for letter in name.chars() {
        if letter == '_' {
            label.push(' ');
            continue;
        }
        let after_lower = label.chars().last().is_some_and(|last| last.is_lowercase() || last.is_ascii_digit());
        if letter.is_uppercase() && after_lower {
            label.push(' ');
        }
        label.push(letter);
    }
    label
}

/// What a user may do with an object and its fields; by default everything.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rights {
    pub(super) read: bool,
    pub(super) create: bool,
    pub(super) edit: bool,
    pub(super) delete: bool,
    /// Fields that are not shown.
    pub(super) hidden: Vec<String>,
    /// Fields that are shown and not written.
    pub(super) read_only: Vec<String>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { read: true, create: true, edit: true, delete: true, hidden: Vec::new(), read_only: Vec::new() }
    }
}

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) plural: String,
    pub(super) prefix: String,
    pub(super) writable: bool,
    /// What the user may do with its records.
    pub(super) rights: Rights,
    fields: Vec<Field>,
    places: HashMap<String, usize>,
}

impl Object {
    /// An object with the fields that all have, and these.
    pub(super) fn new(name: &str, plural: &str, prefix: &str, fields: Vec<Field>) -> Self {
        let user = |name: &str, relationship: &str| {
            Field::new(name, Kind::Reference, 18).refers_to("User", relationship).read_only()
        };
        let own = vec![
            Field::new("Id", Kind::Id, 18).read_only(),
            Field::new("IsDeleted", Kind::Boolean, 0).read_only(),
            Field::new("CreatedDate", Kind::Datetime, 0).read_only(),
            user("CreatedById", "CreatedBy"),
            Field::new("LastModifiedDate", Kind::Datetime, 0).read_only(),
            user("LastModifiedById", "LastModifiedBy"),
            Field::new("SystemModstamp", Kind::Datetime, 0).read_only(),
        ];
        let mut object = Self {
            name: name.to_owned(),
            plural: plural.to_owned(),
            prefix: prefix.to_owned(),
            writable: true,
            rights: Rights::default(),
            fields: Vec::new(),
            places: HashMap::new(),
        };
        for field in own.into_iter().chain(fields) {
            object.add(field);
        }
        object
    }

    /// Adds a field; one of that name stays.
    pub(super) fn add(&mut self, field: Field) {
        let name = field.name.to_ascii_lowercase();
        if !self.places.contains_key(&name) {
            self.places.insert(name, self.fields.len());
            self.fields.push(field);
        }
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A field and its place, by its name in any case.
    pub(super) fn field(&self, name: &str) -> Option<(usize, &Field)> {
        let place = *self.places.get(&name.to_ascii_lowercase())?;
        Some((place, self.fields.get(place).filter(|field| !field.hidden)?))
    }

    /// As a user with these rights sees it: what is hidden stays in its place, and is not found there.
    pub(super) fn seen_with(&self, rights: &Rights) -> Self {
        let mut object = Self { rights: rights.clone(), ..self.clone() };
        for field in &mut object.fields {
            let among = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case(&field.name));
            field.hidden = among(&rights.hidden);
            if among(&rights.read_only) {
                (field.createable, field.updateable) = (false, false);
            }
        }
        object
    }

    /// The reference that goes by this relationship's name.
    pub(super) fn relationship(&self, name: &str) -> Option<(usize, &str, &str)> {
        self.fields.iter().enumerate().find_map(|(place, field)| {
            let (object, relationship) = field.reference.as_ref()?;
            relationship.eq_ignore_ascii_case(name).then_some((place, object.as_str(), relationship.as_str()))
        })
    }

    /// The parts of a compound field.
    pub(super) fn parts<'a>(&'a self, compound: &'a str) -> impl Iterator<Item = (usize, &'a Field)> + 'a {
        self.fields.iter().enumerate().filter(move |(_, field)| field.compound.as_deref() == Some(compound))
    }

    /// What the list of objects says.
    pub(super) fn summary(&self, version: &str) -> Value {
        let url = format!("/services/data/{version}/sobjects/{}", self.name);
        json!({
            "name": self.name, "label": self.name, "labelPlural": self.plural, "keyPrefix": self.prefix, "custom": false,
            "queryable": true, "retrieveable": true, "replicateable": true,
            "createable": self.writable && self.rights.create, "updateable": self.writable && self.rights.edit,
            "deletable": self.writable && self.rights.delete, "undeletable": self.writable, "mergeable": self.writable, "layoutable": true,
            "searchable": true, "triggerable": true, "activateable": false, "customSetting": false, "deprecatedAndHidden": false,
            "feedEnabled": false, "hasSubtypes": false, "isSubtype": false,
            "urls": {"sobject": url, "describe": format!("{url}/describe"), "rowTemplate": format!("{url}/{{ID}}")},
        })
    }

    /// The whole description.
    pub(super) fn describe(&self, version: &str, schema: &Schema) -> Value {
        let mut described = self.summary(version);
        let children: Vec<Value> = schema
            .objects()
            .flat_map(|child| child.fields.iter().map(move |field| (child, field)))
            .filter(|(_, field)| field.reference.as_ref().is_some_and(|(object, _)| *object == self.name))
            .map(|(child, field)| {
                json!({"childSObject": child.name, "field": field.name, "relationshipName": child.plural, "cascadeDelete": false,
                    "deprecatedAndHidden": false, "restrictedDelete": false})
            })
            .collect();
        if let Some(object) = described.as_object_mut() {
            let fields: Vec<Value> = self.fields.iter().filter(|field| !field.hidden).map(Field::describe).collect();
            object.insert("fields".to_owned(), json!(fields));
            object.insert("childRelationships".to_owned(), json!(children));
            object.insert("recordTypeInfos".to_owned(), json!([]));
        }
        described
    }
}

/// All objects.
#[derive(Debug, Clone, Default)]
pub(super) struct Schema {
    objects: BTreeMap<String, Object>,
}

impl Schema {
    pub(super) fn new(objects: Vec<Object>) -> Self {
        Self { objects: objects.into_iter().map(|object| (object.name.to_ascii_lowercase(), object)).collect() }
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// An object, by its name in any case.
    pub(super) fn object(&self, name: &str) -> Option<&Object> {
        self.objects.get(&name.to_ascii_lowercase())
    }

    /// As a user with these rights sees it, by object.
    pub(super) fn seen_with(&self, rights: &BTreeMap<String, Rights>) -> Self {
        let of = |name: &str| rights.iter().find(|(object, _)| object.eq_ignore_ascii_case(name));
        let seen = |(name, object): (&String, &Object)| match of(&object.name) {
            Some((_, rights)) => rights.read.then(|| (name.clone(), object.seen_with(rights))),
            None => Some((name.clone(), object.clone())),
        };
        Self { objects: self.objects.iter().filter_map(seen).collect() }
    }

    pub(super) fn object_mut(&mut self, name: &str) -> Option<&mut Object> {
        self.objects.get_mut(&name.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn labels_are_read_by_people() {
        assert_eq!(label("BillingStreet"), "Billing Street");
        assert_eq!(label("Tidelock_Id__c"), "Tidelock Id");
    }
}
