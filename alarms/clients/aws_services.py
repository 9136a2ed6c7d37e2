"""What CloudWatch's billing metrics call a service, and what AWS Budgets (as Cost Explorer) calls the same spend."""

from __future__ import annotations

from collections.abc import Sequence

# By the ServiceName of EstimatedCharges, which may be several there; of what is not here that is said.
_BUDGET_NAMES: dict[str, tuple[str, ...]] = {
    "AmazonCloudFront": ("Amazon CloudFront",),
    "AmazonCloudWatch": ("AmazonCloudWatch",),
    "AmazonDynamoDB": ("Amazon DynamoDB",),
    "AmazonEC2": ("Amazon Elastic Compute Cloud - Compute", "EC2 - Other"),
    "AmazonECR": ("Amazon EC2 Container Registry (ECR)",),
    "AmazonEFS": ("Amazon Elastic File System",),
    "AmazonRDS": ("Amazon Relational Database Service",),
    "AmazonRoute53": ("Amazon Route 53",),
    "AmazonS3": ("Amazon Simple Storage Service",),
    "AmazonSNS": ("Amazon Simple Notification Service",),
    "AmazonSageMaker": ("Amazon SageMaker",),
    "AmazonVPC": ("Amazon Virtual Private Cloud",),
    "AWSLambda": ("AWS Lambda",),
    "AWSQueueService": ("Amazon Simple Queue Service",),
    "awskms": ("AWS Key Management Service",),
}
_OF_BUDGETS = {name for names in _BUDGET_NAMES.values() for name in names}


def metric_name(services: Sequence[str]) -> str | None:
    """The one ServiceName of CloudWatch that is exactly these services, by whichever names; None: there is none."""
    for metric, names in _BUDGET_NAMES.items():
        if set(services) in ({metric}, set(names)):
            return metric
    # An unknown name without a space is one of CloudWatch's: that is how the source calls it.
    return services[0] if len(services) == 1 and _is_of_metrics(services[0]) else None


def budget_names(services: Sequence[str]) -> tuple[str, ...] | None:
    """What AWS Budgets calls these services; None: it is not known of one of them."""
    found: list[str] = []
    for service in services:
        if service in _BUDGET_NAMES:
            found += _BUDGET_NAMES[service]
        elif service in _OF_BUDGETS or not _is_of_metrics(service):
            found.append(service)
        else:
            return None
    return tuple(dict.fromkeys(found))


def _is_of_metrics(service: str) -> bool:
    return " " not in service and service not in _OF_BUDGETS
