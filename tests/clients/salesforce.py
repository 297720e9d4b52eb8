"""What simple-salesforce, a client that knows nothing of tidelock, makes of the sandbox. Argument: the sandbox's address."""

import datetime
import sys
import urllib.parse

import requests
from simple_salesforce import Salesforce, SalesforceMalformedRequest, SalesforceResourceNotFound, exceptions
from simple_salesforce.login import SalesforceLogin

ADDRESS = sys.argv[1]


class Plain(requests.Session):
    """The client speaks https only, to hosts that it makes up from a domain: all of it is sent to the sandbox."""

    def request(self, method, url, **options):
        return super().request(method, ADDRESS + "/" + url.split("/", 3)[3], **options)


def refused(kind, code, act):
    try:
        act()
    except kind as error:
        assert error.content[0]["errorCode"] == code, error.content
    else:
        raise AssertionError(f"{code} was expected")


session = Plain()
token, host = SalesforceLogin(
    session=session, domain="acme.my", consumer_key="tidelock-sandbox", consumer_secret="sandbox-secret"
)
assert host == urllib.parse.urlparse(ADDRESS).netloc, host
sf = Salesforce(instance=host, session_id=token, session=session, version="60.0")
try:
    SalesforceLogin(session=session, domain="acme.my", consumer_key="tidelock-sandbox", consumer_secret="wrong")
    raise AssertionError("a wrong secret was taken")
except exceptions.SalesforceAuthenticationFailed:
    pass

# Descriptions
fields = {field["name"]: field for field in sf.Account.describe()["fields"]}
assert fields["Name"]["length"] == 255 and not fields["Name"]["nillable"]
assert fields["Tidelock_Id__c"]["externalId"] and not fields["SystemModstamp"]["updateable"]
assert {"Account", "Contact"} <= {entry["name"] for entry in sf.describe()["sobjects"]}

# Single records
created = sf.Account.create({"Name": "Py One ", "AnnualRevenue": 12.5, "Industry": "Energy", "Phone": ""})
assert created["success"] and len(created["id"]) == 18
record = sf.Account.get(created["id"][:15])
assert (record["Name"], record["AnnualRevenue"], record["Phone"]) == ("Py One", 13.0, None), record
assert sf.Account.update(created["id"], {"Name": "Py 1"}) == 204
refused(SalesforceMalformedRequest, "REQUIRED_FIELD_MISSING", lambda: sf.Account.create({"Phone": "1"}))
refused(SalesforceMalformedRequest, "INVALID_FIELD", lambda: sf.Account.create({"Name": "x", "Nothing__c": 1}))
refused(SalesforceResourceNotFound, "NOT_FOUND", lambda: sf.Account.get("001Hs0000zzzzzzAAA"))
assert sf.Account.upsert("Tidelock_Id__c/py-1", {"Name": "Py Two"}) == 201
assert sf.Account.upsert("Tidelock_Id__c/py-1", {"Name": "Py 2"}) == 200
assert sf.Account.get_by_custom_id("Tidelock_Id__c", "PY-1")["Name"] == "Py 2"
sf.Account.upsert("Legacy_Id__c/7", {"Name": "Py 3"})
sf.Account.create({"Name": "Py 4", "Legacy_Id__c": "7"})
try:
    sf.Account.upsert("Legacy_Id__c/7", {"Name": "x"})
    raise AssertionError("one of two was chosen")
except exceptions.SalesforceMoreThanOneRecord as error:
    assert len(error.content) == 2

# Queries
names = [row["Name"] for row in sf.query_all("SELECT Id, Name FROM Account WHERE Name LIKE 'Py %' ORDER BY Name")["records"]]
assert names == ["Py 1", "Py 2", "Py 3", "Py 4"], names
assert sf.query("SELECT COUNT() FROM Account")["totalSize"] >= 4
refused(SalesforceMalformedRequest, "MALFORMED_QUERY", lambda: sf.query("SELECT FROM Account"))
refused(SalesforceMalformedRequest, "INVALID_FIELD", lambda: sf.query("SELECT Nothing FROM Account"))
put = session.put(ADDRESS + "/sandbox/faults", json={"rules": [{"path": "/query", "fault": {"short_page": {"records": 3}}}]})
assert put.status_code == 204
assert [row["Name"] for row in sf.query_all_iter("SELECT Name FROM Account WHERE Name LIKE 'Py %' ORDER BY Name")] == names
session.put(ADDRESS + "/sandbox/faults", json={})

# Deletes and windows
assert sf.Account.delete(created["id"]) == 204
assert sf.query_all("SELECT Id FROM Account WHERE Name = 'Py 1'")["totalSize"] == 0
assert sf.query_all("SELECT Id FROM Account WHERE Name = 'Py 1' AND IsDeleted = true", include_deleted=True)["totalSize"] == 1
session.post(ADDRESS + "/sandbox/clock", json={"advance_seconds": 120})
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=120)
start = end - datetime.timedelta(minutes=30)
assert created["id"] in [entry["id"] for entry in sf.Account.deleted(start, end)["deletedRecords"]]
assert created["id"] not in sf.Account.updated(start, end)["ids"] and sf.Account.updated(start, end)["ids"]

# Bulk API 2.0
data = [{"Tidelock_Id__c": f"bulk-{n}", "Name": f"Bulk {n}, \"x\"" if n % 10 else ""} for n in range(50)]
(job,) = sf.bulk2.Account.upsert(records=data, external_id_field="Tidelock_Id__c")
assert (job["numberRecordsTotal"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (50, 50, 5), job
assert "REQUIRED_FIELD_MISSING" in sf.bulk2.Account.get_failed_records(job["job_id"])
assert sf.bulk2.Account.get_successful_records(job["job_id"]).count('"true"') == 45
pages = list(sf.bulk2.Account.query("SELECT Id, Name FROM Account WHERE Name LIKE 'Bulk %'", max_records=20))
assert sum(page.count("\n") - 1 for page in pages) == 45 and len(pages) == 3, [page.count("\n") for page in pages]

# Limits, and a session that ends
assert sf.limits()["DailyApiRequests"]["Max"] > 0
assert sf.api_usage["api-usage"].used > 0
session.post(ADDRESS + "/sandbox/sessions/expire")
try:
    sf.limits()
    raise AssertionError("the session should have been over")
except exceptions.SalesforceExpiredSession:
    pass
print("simple-salesforce: all as with Salesforce")
