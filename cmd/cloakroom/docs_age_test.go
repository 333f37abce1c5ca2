package main

import (
	"fmt"
	"io"
	"os"

	"filippo.io/age"
)

// ageProgram stands in for what the pages take from age: `age-keygen -o FILE`,
// `age-keygen -y FILE` and `age -d -i IDENTITY -o OUT IN`.
func ageProgram(name string, args []string) error {
	switch {
	case name == "age-keygen" && len(args) == 2 && args[0] == "-o":
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "Public key:", id.Recipient())
		return os.WriteFile(args[1], []byte(id.String()+"\n"), 0o600)
	case name == "age-keygen" && len(args) == 2 && args[0] == "-y":
		ids, err := identities(args[1])
		if err != nil {
			return err
		}
		fmt.Println(ids[0].(*age.X25519Identity).Recipient())
		return nil
	case name == "age" && len(args) == 6 && args[0] == "-d" && args[1] == "-i" && args[3] == "-o":
		ids, err := identities(args[2])
		if err != nil {
			return err
		}
		in, err := os.Open(args[5])
		if err != nil {
			return err
		}
		defer in.Close()
		r, err := age.Decrypt(in, ids...)
		if err != nil {
			return err
		}
		out, err := os.Create(args[4])
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, r); err != nil {
			return err
		}
		return out.Close()
	}
	return fmt.Errorf("%s is not called like this on any page: %q", name, args)
}

func identities(file string) ([]age.Identity, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return age.ParseIdentities(f)
}
