"""An example of every body, as the description shows it: together they are the whole way of a campaign.

A test sends each of them in this order.
"""

from typing import Any

NUMBERS = ["+14155550100", "+14155550101"]
PERSON = {"phoneNumber": "+14155550123", "firstName": "Ann", "ownerId": "user-7", "timezone": "America/New_York"}

# By operation.
EXAMPLES: dict[str, Any] = {
    "organization_edit": {"timezone": "America/New_York", "max_attempts_per_number": {"count": 7, "hours": 168}},
    "connections_create": {
        "name": "Trunk",
        "kind": "http",
        "channel": "voice",
        "settings": {"url": "https://provider.example/attempts", "secret": "at least sixteen characters"},
        "phone_numbers": NUMBERS,
        "max_attempts_per_second": 20,
        "max_concurrent_attempts": 200,
    },
    "connections_edit": {"max_attempts_per_second": 10},
    "campaigns_create": {
        "name": "Q1 Payment Reminders",
        "description": "Those whose payment is due",
        "channel": "voice",
        "app_config": {
            "app_id": "agent-7f3",
            "app_type": "agent",
            "app_version": 4,
            "attempts_per_second": 2.5,
            "max_concurrent_attempts": 200,
            "connection_configs": [{"connection_id": 1, "phone_numbers": NUMBERS, "weight": 3}],
            "retry_config": {
                "max_retries": 3,
                "retry_interval_minutes": [15, 60, 1440],
                "retry_on": {
                    "busy": {"enabled": True},
                    "failed": {"enabled": False},
                    "short_duration": {"enabled": True, "threshold_seconds": 10},
                },
            },
        },
        "allowed_schedule": {
            "timezone": "America/New_York",
            "allowed_days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"],
            "allowed_start_time": "09:00",
            "allowed_end_time": "18:00",
        },
        "webhook": {
            "url": "https://hooks.example.com/outdial",
            "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "events": ["attempt.finished", "campaign.status"],
        },
    },
    "campaigns_edit": {"description": "Those whose payment is late"},
    "cohorts_create": {
        "name": "Late payers",
        "users": [{"phone_number": "+14155550123", "user_identifier": "u-1", "variables": {"first_name": "Ann"}}],
    },
    "schedule_save": {
        "schedule_type": "recurring",
        "timezone": "America/New_York",
        "recurring_config": {"frequency": "weekly", "days_of_week": [1, 3, 5], "time": "10:00"},
    },
    "segments_apply": {
        "segments": [
            {"id": "seg-1", "scheduled_date": "2050-05-20T17:00:00.000Z", "contact_count": 100},
            {"id": "seg-2", "scheduled_date": "2050-05-21T17:00:00.000Z", "contact_count": 100},
        ]
    },
    "campaigns_pace": {"attempts_per_second": 1},
    "attempts_search": {"phone_number": "+14155550123"},
    "campaigns_preview": {
        "message": "Hi {{first_name|there}}, your payment is due on {{due_date}}.",
        "variables": {"first_name": "Ann", "due_date": "June 1"},
    },
    "campaigns_send_test": {"to": "+14155550125", "variables": {"first_name": "Ann"}},
    "campaigns_duplicate": {"name": "Q2 Payment Reminders"},
    "campaigns_redial": {"outcomes": ["busy", "no_answer"]},
    "campaigns_change_status": {"action": "cancel"},
    "webhooks_resend": {"delivery_ids": [1]},
    "planning_auto_segment": {"totalContacts": 500, "firstSegmentDate": "2026-05-20", "firstSegmentTime": "10:00"},
    "planning_validate_date": {"scheduledISO": "2026-05-20T15:00:00.000Z", "contactCount": 250},
    "planning_validate_contacts": {
        "contacts": [
            {"firstName": "Jamie", "phoneNumber": "+14155550133"},
            {"firstName": "Casey", "phoneNumber": "+14155550144"},
        ],
        "segmentationConfig": {"enabled": False},
        "assignmentConfig": {"isAssignmentEnabled": False},
    },
    "contacts_create": PERSON,
    "contacts_upsert": {"contacts": [PERSON]},
    "contacts_search": {"phoneNumbers": ["+14155550123"]},
    "contacts_edit": {"assigneeId": "user-8"},
    "contacts_erase_number": {"phoneNumber": "+14155550124"},
    "opt_outs_opt_out": {"phone_number": "+14155550123"},
    "opt_outs_opt_out_all": {"phone_numbers": ["+14155550123", "+14155550124"]},
    "opt_outs_search": {"phone_numbers": ["+14155550123"]},
    "opt_outs_opt_in": {"phone_number": "+14155550123"},
}
