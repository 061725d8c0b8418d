"""The management API under `/api/manage/v1/`: a team's keys and its balance."""
