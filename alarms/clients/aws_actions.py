"""The IAM action that allows each operation on twins: what to ask for when AWS refuses it."""

from __future__ import annotations

# Two services have operations on tags, and the error does not say which one it was.
TWIN_ACTIONS = {
    **{
        operation: f"cloudwatch:{operation}"
        for operation in ("DescribeAlarms", "PutMetricAlarm", "DeleteAlarms", "SetAlarmState", "DescribeAlarmHistory")
    },
    **dict.fromkeys(
        ("DescribeBudgets", "DescribeNotificationsForBudget", "DescribeSubscribersForNotification"),
        "budgets:ViewBudget",
    ),
    **dict.fromkeys(
        (
            *("CreateBudget", "UpdateBudget", "DeleteBudget", "CreateNotification", "DeleteNotification"),
            *("CreateSubscriber", "UpdateSubscriber", "DeleteSubscriber"),
        ),
        "budgets:ModifyBudget",
    ),
    "ListTagsForResource": "cloudwatch:ListTagsForResource and budgets:ListTagsForResource",
    "TagResource": "cloudwatch:TagResource and budgets:TagResource",
    "ListSubscriptionsByTopic": "sns:ListSubscriptionsByTopic",
}
