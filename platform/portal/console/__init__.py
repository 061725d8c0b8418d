"""Staff's own pages under `/admin/`, in the admin's shell: customers, search, acts, overview."""
