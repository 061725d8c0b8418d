"""Staff's own pages under `/admin/`, in the admin's shell: customers, search, actions, overview."""
