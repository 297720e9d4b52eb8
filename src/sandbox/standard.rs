//! The objects of the sandbox, with the types, lengths and scales that Salesforce documents for its standard fields, and custom fields of the
//! kinds that a standard object has none of.

use super::describe::{Field, Kind, Object, Schema};

const INDUSTRIES: &[&str] = &[
    "Agriculture",
    "Apparel",
    "Banking",
    "Biotechnology",
    "Chemicals",
    "Communications",
    "Construction",
    "Consulting",
    "Education",
    "Electronics",
    "Energy",
    "Engineering",
    "Entertainment",
    "Environmental",
    "Finance",
    "Food & Beverage",
    "Government",
    "Healthcare",
    "Hospitality",
    "Insurance",
    "Machinery",
    "Manufacturing",
    "Media",
    "Not For Profit",
    "Recreation",
    "Retail",
    "Shipping",
    "Technology",
    "Telecommunications",
    "Transportation",
    "Utilities",
    "Other",
];

/// Account, Contact and User.
pub(super) fn schema() -> Schema {
    let mut user = Object::new(
        "User",
        "Users",
        "005",
        vec![
            text("Username", 80),
            text("Name", 121),
            Field::new("Email", Kind::Email, 128),
            Field::new("IsActive", Kind::Boolean, 0),
        ],
    );
    user.writable = false;
    Schema::new(vec![
        Object::new("Account", "Accounts", "001", account()),
        Object::new("Contact", "Contacts", "003", contact()),
        user,
    ])
}

fn account() -> Vec<Field> {
    let mut fields = vec![
        required(text("Name", 255)),
        picklist(
            "Type",
            &["Prospect", "Customer - Direct", "Customer - Channel", "Channel Partner / Reseller", "Other"],
        ),
        Field::new("ParentId", Kind::Reference, 18).refers_to("Account", "Parent"),
        Field::new("MasterRecordId", Kind::Reference, 18).refers_to("Account", "MasterRecord").read_only(),
    ];
    fields.extend(address("Billing"));
    fields.extend(address("Shipping"));
    fields.extend([
        Field::new("Phone", Kind::Phone, 40),
        Field::new("Fax", Kind::Phone, 40),
        text("AccountNumber", 40),
        Field::new("Website", Kind::Url, 255),
        text("Sic", 20),
        picklist("Industry", INDUSTRIES),
        number("AnnualRevenue", Kind::Currency, 18, 0),
        number("NumberOfEmployees", Kind::Int, 8, 0),
        picklist("Ownership", &["Public", "Private", "Subsidiary", "Other"]),
        text("TickerSymbol", 20),
        Field::new("Description", Kind::Textarea, 32_000),
        picklist("Rating", &["Hot", "Warm", "Cold"]),
        text("Site", 80),
        owner(),
        Field::new("LastActivityDate", Kind::Date, 0).read_only(),
        picklist("AccountSource", &["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"]),
    ]);
    fields.extend(customs());
    fields
}

fn contact() -> Vec<Field> {
    let mut salutation = picklist("Salutation", &["Mr.", "Ms.", "Mrs.", "Dr.", "Prof.", "Mx."]);
    salutation.compound = Some("Name".to_owned());
    let mut fields = vec![
        Field::new("AccountId", Kind::Reference, 18).refers_to("Account", "Account"),
        part_of(required(text("LastName", 80)), "Name"),
        part_of(text("FirstName", 40), "Name"),
        salutation,
        text("Name", 121).read_only(),
        Field::new("MasterRecordId", Kind::Reference, 18).refers_to("Contact", "MasterRecord").read_only(),
    ];
    fields.extend(address("Mailing"));
    fields.extend([
        Field::new("Phone", Kind::Phone, 40),
        Field::new("Fax", Kind::Phone, 40),
        Field::new("MobilePhone", Kind::Phone, 40),
        Field::new("HomePhone", Kind::Phone, 40),
        Field::new("ReportsToId", Kind::Reference, 18).refers_to("Contact", "ReportsTo"),
        Field::new("Email", Kind::Email, 80),
        text("Title", 128),
        text("Department", 80),
        picklist("LeadSource", &["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"]),
        Field::new("Birthdate", Kind::Date, 0),
        Field::new("Description", Kind::Textarea, 32_000),
        owner(),
        Field::new("HasOptedOutOfEmail", Kind::Boolean, 0),
        Field::new("DoNotCall", Kind::Boolean, 0),
    ]);
    fields.extend(customs());
    fields
}

/// A key to upsert by, one that may be held twice, and one of each kind that is checked.
fn customs() -> Vec<Field> {
    let mut key = text("Tidelock_Id__c", 255);
    (key.external_id, key.unique) = (true, true);
    let mut legacy = text("Legacy_Id__c", 40);
    legacy.external_id = true;
    let mut tier = picklist("Tier__c", &["Basic", "Silver", "Gold"]);
    tier.restricted = true;
    let mut regions = picklist("Regions__c", &["North", "East", "South", "West"]);
    (regions.kind, regions.length, regions.restricted) = (Kind::Multipicklist, 4099, true);
    vec![
        key,
        legacy,
        tier,
        regions,
        number("Balance__c", Kind::Currency, 16, 2),
        number("Score__c", Kind::Double, 5, 3),
        Field::new("Active__c", Kind::Boolean, 0),
        Field::new("Renewal__c", Kind::Date, 0),
        Field::new("Last_Call__c", Kind::Datetime, 0),
    ]
}

fn text(name: &str, length: usize) -> Field {
    Field::new(name, Kind::String, length)
}

fn required(mut field: Field) -> Field {
    field.required = true;
    field
}

fn part_of(mut field: Field, compound: &str) -> Field {
    field.compound = Some(compound.to_owned());
    field
}

/// A picklist that takes other values too, as the standard ones do.
fn picklist(name: &str, values: &[&str]) -> Field {
    let mut field = Field::new(name, Kind::Picklist, 255);
    field.picklist = values.iter().map(|value| (*value).to_owned()).collect();
    field
}

/// A number of this many digits before and after the point.
pub(super) fn number(name: &str, kind: Kind, whole: usize, scale: usize) -> Field {
    let mut field = Field::new(name, kind, 0);
    field.digits = (whole, scale);
    field
}

fn owner() -> Field {
    Field::new("OwnerId", Kind::Reference, 18).refers_to("User", "Owner")
}

/// The parts of an address, and the address itself, which is read-only.
fn address(prefix: &str) -> Vec<Field> {
    let compound = format!("{prefix}Address");
    let mut fields: Vec<Field> = [("Street", 255), ("City", 40), ("State", 80), ("PostalCode", 20), ("Country", 80)]
        .into_iter()
        .map(|(part, length)| {
            let kind = if part == "Street" { Kind::Textarea } else { Kind::String };
            part_of(Field::new(&format!("{prefix}{part}"), kind, length), &compound)
        })
        .collect();
    for part in ["Latitude", "Longitude"] {
        fields.push(part_of(number(&format!("{prefix}{part}"), Kind::Double, 3, 15), &compound));
    }
    fields.push(Field::new(&compound, Kind::Address, 0).read_only());
    fields
}
